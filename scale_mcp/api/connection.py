"""The key and the one place it may go: the Authorization header of requests to its own origin."""

from __future__ import annotations

import base64
import ipaddress
import re
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NoReturn
from urllib.parse import urlsplit

from scale_mcp.api.errors import RefusedBeforeSending

if TYPE_CHECKING:
    import httpx2
    from pydantic import SecretStr

    from scale_mcp.models.common import Mode

BASE_URL = "https://api.scale.com/v1"
REDACTED = "[redacted]"
SHORTEST_REAL_KEY = 24


class _Key:
    """Holds the key without showing it; pydantic's SecretStr would load pydantic."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return REDACTED

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key is not to be written down")


class Connection:
    """One API address with one key. Neither its repr nor anything it raises shows the key."""

    def __init__(self, key: SecretStr | str, base_url: str = BASE_URL) -> None:
        self._key = _Key(_checked_key(key if isinstance(key, str) else key.get_secret_value()))
        self.base_url = _checked_base_url(base_url)
        self.host = urlsplit(self.base_url).hostname or ""
        self.loopback = is_loopback(self.host)
        self.mode: Mode = mode_of(self._key.value)

    def __repr__(self) -> str:
        return f"Connection({self.base_url!r}, {self.mode})"

    def sign(self, request: httpx2.Request) -> None:
        """Put the key into a request to our own origin, and make sure that no other request has one."""
        if (value := self.authorization(request.url)) is not None:
            request.headers["Authorization"] = value  # in place of any other
        else:
            request.headers.pop("Authorization", None)

    def authorization(self, url: httpx2.URL) -> str | None:
        """The Authorization header of a request to ``url``: with the key to our own origin, none to any other."""
        return f"Basic {self._encoded()}" if self.owns(url) else None

    def owns(self, url: httpx2.URL) -> bool:
        """Whether ``url`` has our scheme, host and port."""
        return (url.scheme, url.host, url.port) == self._origin and not url.userinfo

    @cached_property
    def _origin(self) -> tuple[str, str, int | None]:
        import httpx2

        own = httpx2.URL(self.base_url)
        return own.scheme, own.host, own.port

    def scrub(self, text: str) -> str:
        """``text`` without the key, for words that come from elsewhere and may echo what we sent."""
        return text.replace(self._encoded(), REDACTED).replace(self._key.value, REDACTED)

    def scrub_bytes(self, content: bytes) -> bytes:
        """Data without the key: whoever wrote it into some metadata shall not meet it again in a result.

        Short keys stay. They are made up, for the sandbox, and may be part of honest names.
        """
        if len(self._key.value) < SHORTEST_REAL_KEY:
            return content
        redacted = REDACTED.encode()
        return content.replace(self._encoded().encode(), redacted).replace(self._key.value.encode(), redacted)

    def _encoded(self) -> str:
        return base64.b64encode(f"{self._key.value}:".encode()).decode()


def mode_of(key: str) -> Literal["live", "test"]:
    """The world a key sees. Whatever is not marked as test counts as live, the more careful guess."""
    return "test" if key.startswith("test_") or key.endswith("|test") else "live"


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked_key(key: str) -> str:
    key = key.strip()
    if not key:
        raise RefusedBeforeSending(
            "The API key is empty.", next_step="Set SCALE_API_KEY to a key of your Scale account."
        )
    if not re.fullmatch(r"[!-9;-~]+", key):  # printable ASCII without blanks; a colon would end the Basic user name
        raise RefusedBeforeSending(
            "The API key holds characters that no key has.", next_step="Copy the key again from Scale's dashboard."
        )
    return key


def _checked_base_url(base_url: str) -> str:
    """The address without its last slash. https only, plain http only to this machine; nothing but host and path."""
    cure = f"Give an https address such as {BASE_URL}."
    if not re.fullmatch(r"https?://[!-~]+", base_url, re.IGNORECASE) or "\\" in base_url:
        raise RefusedBeforeSending("The API address is not an http(s) address.", next_step=cure)
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise RefusedBeforeSending("The API address is not valid.", next_step=cure) from None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise RefusedBeforeSending("The API address holds a user name or password.", next_step=cure)
    if "?" in base_url or "#" in base_url:
        raise RefusedBeforeSending("The API address holds a query or fragment.", next_step=cure)
    if not host or port == 0:
        raise RefusedBeforeSending("The API address names no host.", next_step=cure)
    if any(segment in (".", "..") for segment in parts.path.split("/")) or "%" in parts.path or "%" in parts.netloc:
        raise RefusedBeforeSending("The path of the API address is not plain.", next_step=cure)
    if parts.scheme == "http" and not is_loopback(host):
        raise RefusedBeforeSending(
            "The API address uses plain http, which would show the key to the network.",
            next_step="Use https; plain http is possible only to localhost.",
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"
