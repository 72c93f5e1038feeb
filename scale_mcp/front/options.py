"""How the server was started, as far as the front can understand it without the settings module.

Anything beyond the flags and values below, any other ``SCALE_MCP_…`` variable and any key or URL of an unusual form
make ``understood`` return None: the front steps aside and the settings judge. A test holds both to the same verdict.
"""

from __future__ import annotations

import os
import sys

SWITCHES = {"sandbox", "read_only", "discovery"}
NAMES = {"toolsets", "tools", "exclude_tools"}
FOLDERS = {"upload_root", "download_root"}
NUMBERS = {  # name → least and most
    "max_in_flight": (1, 256),
    "max_calls_per_minute": (0, 100_000),
    "call_timeout": (1, 3600),
    "max_result_chars": (2_000, 4_000_000),
}
CHOICES = {
    "transport": ("stdio",),
    "sandbox_clock": ("real", "fast", "manual"),
    "confirm": ("auto", "always", "never"),
    "confirm_risk": ("destroy", "spend", "write"),
    "log_level": ("debug", "info", "warning", "error"),
    "log_format": ("json", "console"),
}
PREFIX = "SCALE_MCP_"
ON, OFF = ("true", "1"), ("false", "0")
KEY_SIGNS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-|")
HOST_SIGNS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")


def understood(
    arguments: list[str],
) -> tuple[dict[str, bool | str | list[str]], dict[str, bool | str | list[str]]] | None:
    """The flags given, and the values in force (flags win over variables), or None when anything is unclear."""
    if sys.platform == "win32" or sys.flags.dev_mode:
        return None
    flags = _flags(arguments)
    variables = _variables()
    if flags is None or variables is None:
        return None
    values = {**variables, **flags}
    if not values.get("sandbox") and not _plain_key(os.environ.get("SCALE_API_KEY", "")):
        return None
    return flags, values


def _flags(arguments: list[str]) -> dict[str, bool | str | list[str]] | None:
    found: dict[str, bool | str | list[str]] = {}
    waiting = list(arguments)
    while waiting:
        name, given, value = waiting.pop(0).partition("=")
        if not name.startswith("--") or "_" in name:
            return None
        field = name[2:].replace("-", "_")
        if field in SWITCHES and not given:
            found[field] = True
            continue
        if not given:
            if not waiting:
                return None
            value = waiting.pop(0)
        if field in SWITCHES or (field in found and field not in NAMES):
            return None
        read = _value(field, value)
        if read is None:
            return None
        earlier = found.get(field)
        found[field] = earlier + read if isinstance(earlier, list) and isinstance(read, list) else read
    return found


def _variables() -> dict[str, bool | str | list[str]] | None:
    found: dict[str, bool | str | list[str]] = {}
    for name, value in os.environ.items():
        upper = name.upper()
        if upper == "SCALE_API_URL":
            if name != upper or not (value == "" or _plain_url(value)):
                return None
        elif upper == "SCALE_API_KEY":
            if name != upper or not (value == "" or _plain_key(value)):
                return None
        elif upper.startswith(PREFIX):
            field = name[len(PREFIX) :].lower()
            read = (value in ON if value in ON + OFF else None) if field in SWITCHES else _value(field, value)
            if name != upper or read is None:
                return None
            found[field] = read
    return found


def _value(field: str, value: str) -> str | list[str] | None:
    if field in CHOICES:
        return value if value in CHOICES[field] else None
    if field in NAMES:
        names = [name.strip() for name in value.split(",")]
        return names if all(names) else None
    if field in NUMBERS:
        least, most = NUMBERS[field]
        plain = len(value) < 9 and value.isascii() and value.isdigit()
        return value if plain and least <= int(value) <= most else None
    if field in FOLDERS and value.isprintable() and not value.startswith("~"):
        there = not value or os.path.isdir(value)  # noqa: PTH112  (pathlib is slow to import)
        return value if there else None
    return None


def _plain_key(key: str) -> bool:
    return key.startswith(("live_", "test_")) and KEY_SIGNS.issuperset(key)


def _plain_url(url: str) -> bool:
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    name, colon, port = host.partition(":")
    if colon and not (port.isdigit() and port.isascii() and len(port) < 6 and int(port) < 65536):
        return False
    local = name in ("127.0.0.1", "localhost")
    return (
        (scheme == "https" or (scheme == "http" and local))
        and bool(name)
        and HOST_SIGNS.issuperset(name)
        and all(part.isalnum() and part.isascii() for part in path.split("/") if part)
    )
