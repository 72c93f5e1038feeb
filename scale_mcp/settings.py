"""Every setting in one place: each is a flag of ``scale-mcp serve`` and a ``SCALE_MCP_…`` variable.

Configuration fails closed. A variable nobody knows, a value that does not parse and an address that would expose
the server stop the start with a sentence that says what to do; nothing is guessed and nothing is ignored.
"""

from __future__ import annotations

import difflib
import os
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from scale_mcp import setting_rules
from scale_mcp.setting_rules import is_loopback as is_loopback

PREFIX = "SCALE_MCP_"
DEFAULT_API_URL = "https://api.scale.com/v1"
ALIASES = {"api_key": "SCALE_API_KEY", "api_url": "SCALE_API_URL"}  # the two that go by Scale's own name
KEY_CURE = "Copy the key from https://dashboard.scale.com/settings again"
# Hosts fill these from optional fields of a form and hand over "" when a person left one empty.
# Values that are not shown when they are refused: a URL may carry a password.
MAY_HOLD_SECRETS = {*ALIASES, "store", "master_keys", "metrics_token", "public_url", "oauth_issuer", "oauth_jwks_url"}
MAY_BE_EMPTY = {"SCALE_API_KEY", "SCALE_API_URL", "SCALE_MCP_UPLOAD_ROOT", "SCALE_MCP_DOWNLOAD_ROOT"}

Names = Annotated[tuple[str, ...], NoDecode]  # given as "a,b" in the environment, as a sequence by flags


class SettingsError(Exception):
    """A setting that cannot be used. The text is for the operator: what is wrong and how to cure it."""


class Settings(BaseSettings):
    """What the operator decided. Read once at start and never changed by a call."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, populate_by_name=True, validate_default=False
    )

    api_key: SecretStr | None = Field(
        None, validation_alias=ALIASES["api_key"], description="Scale API key (live_… or test_…)"
    )
    api_url: str = Field(DEFAULT_API_URL, validation_alias=ALIASES["api_url"], description="Base URL of Scale's API")

    transport: Literal["stdio", "http"] = Field("stdio", description="stdio, or http for /mcp, /sse and /healthz")
    host: str = Field("127.0.0.1", description="Address to listen on (http); loopback only, unless hosted")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on (http); 0 takes any free one")
    allowed_hosts: Names = Field((), description="Further Host headers to accept, e.g. a reverse proxy's name")
    allowed_origins: Names = Field((), description="Further Origin headers to accept, e.g. https://tools.example.com")

    store: SecretStr | None = Field(
        None,
        description="Database of the hosted parts: sqlite:///… or postgresql://… (default: a file in your data folder)",
    )
    master_keys: SecretStr | None = Field(
        None, description="Master keys of the vault (id:key,…), the current one first; see `scale-mcp vault`"
    )
    master_key_file: str | None = Field(
        None,
        description="File with the vault's master keys, readable by its owner only "
        "(default: master.keys in your configuration folder)",
    )
    master_key_keyring: bool = Field(
        default=False, description="Take the vault's master keys from the operating system's keyring"
    )

    hosted: bool = Field(default=False, description="Serve personas that sign in, each with what it may use (http)")
    public_url: str | None = Field(None, description="Address that callers use, e.g. https://tools.example.com")
    trusted_hops: int = Field(
        0, ge=0, le=10, description="Reverse proxies in front whose X-Forwarded-For is believed; 0 believes none"
    )
    console: bool = Field(default=True, description="Serve the operator's page at /console (hosted)")
    oauth_issuer: str | None = Field(None, description="Authorization server whose tokens are accepted, too")
    oauth_audience: str | None = Field(
        None, description="Audience those tokens must name (default: the public URL and /mcp)"
    )
    oauth_jwks_url: str | None = Field(None, description="Where its keys are (default: as its metadata says)")
    oauth_persona_claim: str | None = Field(None, description="Claim of a token that names its persona")
    oauth_user_claim: str = Field("sub", description="Claim of a token that names its user")
    oauth_scopes: Names = Field((), description="Scopes that a token must have, and that clients are told to ask for")
    oauth_algorithms: Names = Field(
        (), description="Signatures to accept, e.g. ES256 (default: each kind that needs a private key)"
    )

    metrics_token: SecretStr | None = Field(
        None, description="Bearer token that opens /metrics; without one it is for this machine only"
    )

    toolsets: Names = Field((), description="Toolsets to offer, or all (default: all, or none when --tools is given)")
    tools: Names = Field((), description="Single tools to offer besides the toolsets")
    exclude_tools: Names = Field((), description="Tools never to offer; wins over --toolsets and --tools")
    read_only: bool = Field(default=False, description="Offer only tools that change nothing; wins over everything")
    discovery: bool = Field(
        default=False, description="Offer find_tools, describe_tool and run_tool instead of all tools"
    )
    list_page_size: int = Field(0, ge=0, le=1000, description="Tools per page of tools/list; 0 gives all at once")

    confirm: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Ask a person before irreversible calls on a live key: auto (if the client can), always, never",
    )
    confirm_risk: Literal["destroy", "spend", "write"] = Field("destroy", description="Lowest risk that is asked about")

    sandbox: bool = Field(default=False, description="Talk to the embedded sandbox instead of Scale; needs no key")
    sandbox_db: str = Field(":memory:", min_length=1, description="SQLite file of the sandbox, or :memory:")
    sandbox_clock: Literal["real", "fast", "manual"] = Field("fast", description="How time passes in the sandbox")
    sandbox_port: int | None = Field(
        None, ge=0, le=65535, description="Loopback port that serves the sandbox over HTTP, too; 0 takes any free one"
    )

    upload_root: Path | None = Field(default=None, description="Folder that upload_file may read from; none by default")
    download_root: Path | None = Field(
        default=None, description="Folder that get_task_response may save to; none by default"
    )

    max_in_flight: int = Field(16, ge=1, le=256, description="Most requests to Scale at once")
    max_calls_per_minute: int = Field(0, ge=0, le=100_000, description="Most tool calls per minute; 0 sets no limit")
    call_timeout: float = Field(300.0, gt=0, le=3600, description="Seconds after which a tool call is given up")
    max_result_chars: int = Field(100_000, ge=2_000, le=4_000_000, description="Most characters of one result")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe log line shown")
    log_format: Literal["json", "console"] = Field("json", description="Form of the log lines on stderr")
    telemetry: bool = Field(
        default=False, description="Send traces and metrics to a collector (extra telemetry; see OTEL_EXPORTER_OTLP_…)"
    )
    conformance: bool = Field(
        default=False, description="Add the fixtures of the official conformance suite", exclude=True
    )

    @field_validator(
        "toolsets",
        "tools",
        "exclude_tools",
        "allowed_hosts",
        "allowed_origins",
        "oauth_scopes",
        "oauth_algorithms",
        mode="before",
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        """``"a, b"`` from the environment, ``["a", "b,c"]`` from repeated flags."""
        parts = value.split(",") if isinstance(value, str) else [p for item in value for p in str(item).split(",")]
        names = tuple(part.strip() for part in parts)
        if not all(names):
            raise ValueError("has an empty entry; write names separated by commas")
        return names

    @field_validator("log_level", "transport", "confirm", "confirm_risk", "sandbox_clock", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("api_key")
    @classmethod
    def _usable_key(cls, value: SecretStr | None) -> SecretStr | None:
        """A key that cannot be sent as it is would fail later, as a puzzling 401."""
        if value is None or not (key := value.get_secret_value()):
            return None
        if re.search(r"\s", key):
            raise ValueError(f"contains a space or a line break. {KEY_CURE}, without anything around it")
        if not key.isascii() or not key.isprintable():
            raise ValueError(f"contains characters that no Scale key has (not plain ASCII). {KEY_CURE}")
        if key[0] in "\"'" or key[-1] in "\"'":
            raise ValueError("is wrapped in quotation marks. Remove them")
        if ":" in key:
            raise ValueError(f"contains a colon, which no Scale key has. {KEY_CURE}")
        return value

    @field_validator("api_url")
    @classmethod
    def _safe_url(cls, value: str) -> str:
        """The key goes to this host: encrypted, or not off this machine."""
        if not value:
            return DEFAULT_API_URL
        try:
            url = urlsplit(value)
            host, _ = url.hostname, url.port
        except ValueError:
            raise ValueError(f"is not a URL. Write it like {DEFAULT_API_URL}") from None
        if url.username is not None or url.password is not None:
            raise ValueError("carries a user name or password. Give the key as SCALE_API_KEY instead")
        if url.scheme not in ("https", "http") or not host or not re.fullmatch(r"[\x21-\x7e]+", value) or "\\" in value:
            raise ValueError(f"is not a URL. Write it like {DEFAULT_API_URL}")
        if url.query or url.fragment or "?" in value or "#" in value:
            raise ValueError(f"has a query or a fragment. Write it like {DEFAULT_API_URL}")
        if url.scheme == "http" and not is_loopback(host):
            raise ValueError(
                "is plain http, which would send the key unencrypted. Use https (http is for loopback only)"
            )
        return value.rstrip("/")

    @field_validator("upload_root", "download_root", mode="before")
    @classmethod
    def _no_empty_folder(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("upload_root", "download_root")
    @classmethod
    def _existing_folder(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        try:
            folder = value.expanduser().resolve(strict=True)
        except OSError:
            raise ValueError("names a folder that does not exist. Create it first") from None
        if not folder.is_dir():
            raise ValueError("is not a folder")
        return folder

    @field_validator("public_url")
    @classmethod
    def _usable_public_url(cls, value: str | None) -> str | None:
        return None if value is None else setting_rules.checked_public_url(value)

    @field_validator("oauth_issuer")
    @classmethod
    def _usable_issuer(cls, value: str | None) -> str | None:
        return None if value is None else setting_rules.checked_issuer(value)

    @field_validator("oauth_jwks_url")
    @classmethod
    def _usable_jwks_url(cls, value: str | None) -> str | None:
        return None if value is None else setting_rules.checked_jwks_url(value)

    @field_validator("metrics_token")
    @classmethod
    def _usable_metrics_token(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(setting_rules.checked_metrics_token(value.get_secret_value()))

    @field_validator("oauth_algorithms")
    @classmethod
    def _safe_algorithms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return setting_rules.checked_algorithms(value)

    @field_validator("oauth_audience", "oauth_persona_claim", "oauth_user_claim", "oauth_scopes")
    @classmethod
    def _one_word(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        words = value if isinstance(value, tuple) else () if value is None else (value,)
        if not all(re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", word) for word in words):
            raise ValueError("is not one word. Write it without spaces, quotation marks and backslashes")
        return value

    @model_validator(mode="after")
    def _stay_on_this_machine(self) -> Settings:
        if problems := list(setting_rules.exposures(self)):
            raise ValueError("\n".join(problems))
        return self

    @property
    def resource_url(self) -> str | None:
        """The address of ``/mcp`` as callers see it: what an authorization server makes tokens for."""
        return None if self.public_url is None else f"{self.public_url}/mcp"


def variable(field: str) -> str:
    """The environment variable of a field: ``SCALE_MCP_READ_ONLY`` for ``read_only``."""
    return ALIASES.get(field, PREFIX + field.upper())


def flag(field: str) -> str:
    """The flag of a field: ``--read-only`` for ``read_only``."""
    return "--" + field.replace("_", "-")


def load_settings(overrides: Mapping[str, Any] | None = None, *, serving: bool = True) -> Settings:
    """Read the environment; ``overrides`` (field name → value, from flags) win. ``None`` means "not given".

    ``serving``: for a server, which refuses what it would have to ignore. Raises ``SettingsError`` with one line per
    problem.
    """
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    if problems := [*_unknown_variables(os.environ), *_empty_variables(os.environ)]:
        raise SettingsError("\n".join(problems))
    try:
        settings = Settings(**{ALIASES.get(name, name): value for name, value in given.items()})
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem, given) for problem in error.errors())) from None
    if serving and (problems := list(setting_rules.misfits(settings, given.keys()))):
        raise SettingsError("\n".join(problems))
    return settings


def _unknown_variables(environ: Mapping[str, str]) -> list[str]:
    known = {variable(field) for field in Settings.model_fields}
    problems = []
    for name in sorted(environ):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            public = sorted(known - {variable("conformance")})
            closest = difflib.get_close_matches(name.upper(), public, n=1, cutoff=0.6)
            cure = f"Did you mean {closest[0]}?" if closest else f"Known: {', '.join(public)}."
            problems.append(f"{name} is not a setting of scale-mcp. {cure}")
    return problems


def _empty_variables(environ: Mapping[str, str]) -> list[str]:
    """An empty value could be meant as "off" or as "default"; neither is guessed."""
    known = {variable(field) for field in Settings.model_fields} - MAY_BE_EMPTY
    return [
        f"{name} is set but empty. Give it a value, or remove the variable."
        for name, value in sorted(environ.items())
        if name.upper() in known and not value.strip()
    ]


def _explain(problem: Any, given: Mapping[str, Any]) -> str:
    """One line for one of pydantic's errors. Values are shown, except a key's."""
    if not problem["loc"]:  # a rule over several fields words itself
        return str(problem["ctx"]["error"])
    name = str(problem["loc"][0])
    field = next((field for field, alias in ALIASES.items() if alias == name), name)
    if field not in Settings.model_fields:
        closest = difflib.get_close_matches(field, Settings.model_fields, n=1)
        return f"{flag(field)} is not a setting.{f' Did you mean {flag(closest[0])}?' if closest else ''}"
    label = flag(field) if field in given and not field.startswith("api_") else variable(field)
    own_words = problem["type"] == "value_error"
    if field in MAY_HOLD_SECRETS:
        return f"{label} {problem['ctx']['error'] if own_words else 'is not usable'}."
    shown = f"{label}={str(problem['input'])[:80]!r}"
    if own_words:
        return f"{shown} {problem['ctx']['error']}."
    return f"{shown} is not usable: {_cure(field, str(problem['input']), problem)}"


def _cure(field: str, value: str, problem: Any) -> str:
    annotation = Settings.model_fields[field].annotation
    if typing.get_origin(annotation) is Literal:
        choices = [str(choice) for choice in typing.get_args(annotation)]
        closest = difflib.get_close_matches(value.lower(), choices, n=1)
        return f"choose {', '.join(choices)}." + (f" Did you mean {closest[0]}?" if closest else "")
    if annotation is bool:
        closest = difflib.get_close_matches(value.lower(), ["true", "false"], n=1)
        return "write true or false." + (f" Did you mean {closest[0]}?" if closest else "")
    return f"{problem['msg'][:1].lower()}{problem['msg'][1:]}."
