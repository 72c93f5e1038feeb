"""Rules of the settings that say who may reach the server and who signs its callers in.

Each ``checked_…`` takes one value as it was written and gives it as it is used, or raises ``ValueError`` with words
that go on after the setting's name. ``exposures`` and ``misfits`` look at all of them together.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from scale_mcp.settings import Settings

# Signatures that only the holder of a private key can make. HS256 and its kin are not among them: whoever can check
# such a signature can make one.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
HOSTED_ONLY = ("public_url", "trusted_hops", "console", "oauth_issuer")
SHORTEST_TOKEN = 16  # characters of the token for /metrics
OAUTH_ONLY = (
    "oauth_audience",
    "oauth_jwks_url",
    "oauth_persona_claim",
    "oauth_user_claim",
    "oauth_scopes",
    "oauth_algorithms",
)


def is_loopback(host: str) -> bool:
    """Whether the name or address can only mean this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def checked_public_url(value: str) -> str:
    """The origin that callers see, without a slash at its end."""
    url = _web_address(value, "https://tools.example.com")
    if url.path not in ("", "/"):
        raise ValueError(
            "has a path. Give the server a host name of its own, and write it like https://tools.example.com"
        )
    return f"{url.scheme}://{url.netloc}".lower()


def checked_issuer(value: str) -> str:
    """As it is: an issuer is compared letter by letter, its last slash included."""
    _web_address(value, "https://login.example.com")
    return value


def checked_jwks_url(value: str) -> str:
    _web_address(value, "https://login.example.com/jwks", query=True)
    return value


def checked_algorithms(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name in ALGORITHMS:
            continue
        if name.lower() == "none" or name.upper().startswith("HS"):
            raise ValueError(f"admits {name}, with which anybody could sign. Choose from {', '.join(ALGORITHMS)}")
        closest = difflib.get_close_matches(name.upper(), ALGORITHMS, n=1, cutoff=0.5)
        raise ValueError(
            f"names {name}. Choose from {', '.join(ALGORITHMS)}" + (f"; did you mean {closest[0]}?" if closest else "")
        )
    return names


def checked_metrics_token(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", value):
        raise ValueError("has characters that no bearer token has. Use letters, digits and ._~+/-")
    if value.startswith(("smcp_", "live_", "test_")):
        raise ValueError("looks like a persona's token or a Scale key. Make one of its own: openssl rand -hex 32")
    if len(value) < SHORTEST_TOKEN:
        raise ValueError(f"has less than {SHORTEST_TOKEN} characters. Make a longer one: openssl rand -hex 32")
    return value


def _web_address(value: str, example: str, *, query: bool = False) -> SplitResult:
    """https, or http on this machine: nobody on the way may read it or put something else in its place."""
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port
    except ValueError:
        raise ValueError(f"is not a URL. Write it like {example}") from None
    if url.username is not None or url.password is not None:
        raise ValueError(f"carries a user name or password. Write it like {example}")
    if url.scheme not in ("https", "http") or not host or not re.fullmatch(r"[\x21-\x7e]+", value) or "\\" in value:
        raise ValueError(f"is not a URL. Write it like {example}")
    if "#" in value or ("?" in value and not query):
        raise ValueError(f"has a query or a fragment. Write it like {example}")
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError(f"is plain http, which others could read and change. Write it like {example}")
    return url


def exposures(settings: Settings) -> Iterator[str]:
    """What would let others reach a server that does not know who they are, or under which name; with its cure."""
    if settings.transport != "http" or is_loopback(settings.host):
        return
    if not settings.hosted:
        yield (
            f"--host {settings.host}: without --hosted there is no authentication, so it listens on this machine "
            "only. Keep the host 127.0.0.1; to serve others, let personas sign in with --hosted, or put a reverse "
            "proxy that authenticates in front of it and name the proxy's host with --allowed-hosts."
        )
    elif not settings.allowed_hosts:
        yield (
            f"--host {settings.host} can be reached by others: name the host names that callers use with "
            "--allowed-hosts, e.g. tools.example.com."
        )


def misfits(settings: Settings, flags: Collection[str] = ()) -> Iterator[str]:
    """What a server would have to ignore, as it does not go together; one sentence each, with its cure.

    It is for servers only: the operator's commands may find the same variables as the server beside them.

    flags   the fields that were given as flags of this very start
    """
    if settings.hosted:
        yield from _of_one_caller_only(settings, flags)
    else:
        for field in _given(settings, HOSTED_ONLY):
            yield f"{_flag(field)} is for a hosted server: add --hosted, or leave it out."
        if settings.metrics_token is not None:
            yield "SCALE_MCP_METRICS_TOKEN is for a hosted server: add --hosted, or remove the variable."
    if settings.public_url is not None:
        url = urlsplit(settings.public_url)
        names = {host.lower() for host in settings.allowed_hosts}
        if not (is_loopback(url.hostname or "") or url.hostname in names or url.netloc in names):
            yield f"--public-url names {url.netloc}, which is turned away: add it to --allowed-hosts."
    if settings.oauth_issuer is None:
        for field in _given(settings, OAUTH_ONLY):
            yield f"{_flag(field)} is about an authorization server's tokens: add --oauth-issuer, or leave it out."
        return
    if settings.public_url is None:
        yield (
            "--oauth-issuer needs --public-url, the address that callers use, e.g. https://tools.example.com: tokens "
            "must have been made for it."
        )
    if settings.oauth_persona_claim is None:
        yield "--oauth-issuer needs --oauth-persona-claim, the claim of a token that names its persona."


def _of_one_caller_only(settings: Settings, flags: Collection[str]) -> Iterator[str]:
    """What serves one person at their own machine, and would serve everybody alike."""
    if settings.transport != "http":
        yield "--hosted serves personas over HTTP: add --transport http."
    if settings.api_key is not None:
        yield (
            "SCALE_API_KEY is set, but a hosted server takes its keys from its connections: remove the variable, and "
            "add the key with scale-mcp connection add."
        )
    if "api_url" in flags:  # as a variable it may be there for `scale-mcp connection add`
        yield "--api-url belongs to each connection of a hosted server: give it to scale-mcp connection add."
    if settings.sandbox:
        yield (
            "--sandbox would be one account for every persona: run scale-mcp sandbox beside the hosted server, and add "
            "a connection to it."
        )
    for field in _given(settings, ("upload_root", "download_root")):
        yield f"{_flag(field)} would let every persona at the files of this machine: leave it out of a hosted server."
    if settings.conformance:
        yield "--conformance adds fixtures that know no personas: leave it out of a hosted server."


def _given(settings: Settings, fields: tuple[str, ...]) -> Iterator[str]:
    defaults = type(settings).model_fields
    return (field for field in fields if getattr(settings, field) != defaults[field].default)


def _flag(field: str) -> str:
    return "--" + field.replace("_", "-")
