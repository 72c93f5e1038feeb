"""What a connection, its keys and its callback secret must be like. Nothing here shows a secret, or sends one."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pydantic import SecretStr

from scale_mcp.api import RefusedBeforeSending
from scale_mcp.hosting.connection_records import ConnectionRecord, Kind, Mode
from scale_mcp.hosting.errors import OperatorError
from scale_mcp.hosting.key_checks import KeyUnusable, OpenApi
from scale_mcp.settings import is_loopback

NAME = re.compile(r"(?!con_)[a-z0-9][a-z0-9_-]{0,63}")
CALLBACK_SECRET = re.compile(r"[!-~]{1,500}")


class ConnectionProblem(OperatorError):
    """A connection that is not there, or that cannot be as asked."""


def hidden(secret: SecretStr | str) -> SecretStr:
    """Without what copying brings along at the ends, and out of sight."""
    return SecretStr((secret if isinstance(secret, str) else secret.get_secret_value()).strip())


def demand_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ConnectionProblem(
            f"{name[:80]!r} cannot be a connection's name: use 1 to 64 small letters, digits, - and _, beginning with "
            "a letter or digit (and not with con_, as ids do)."
        )


def examined(key: SecretStr, base_url: str, open_api: OpenApi) -> tuple[str, Mode]:
    """The address as it is used, and the key's mode. Raises ``KeyUnusable`` for an impossible key or address."""
    try:
        api = open_api(key, base_url)
    except RefusedBeforeSending as refusal:
        raise KeyUnusable(str(refusal)) from None
    return api.base_url, api.mode


def kind_of(wanted: Kind | None, mode: Mode, base_url: str) -> Kind:
    """The kind of a connection whose key has this mode. Raises ``ConnectionProblem`` when the wanted one cannot be."""
    if wanted is None:
        return mode
    if wanted == "sandbox":
        host = urlsplit(base_url).hostname or ""
        if not is_loopback(host) and not host.endswith(".localhost"):
            raise ConnectionProblem(
                f"A sandbox runs on this machine, and {base_url} is not on it. Leave the kind out, or give the "
                "sandbox's address, such as http://127.0.0.1:8787/v1."
            )
    elif wanted != mode:
        raise ConnectionProblem(f"This is a {mode} key; it cannot make a {wanted} connection.")
    return wanted


def demand_mode(mode: Mode, record: ConnectionRecord) -> None:
    if mode != record.mode:
        raise KeyUnusable(
            f"This is a {mode} key, and {record.name} is a connection of {record.mode} keys: live and test data are "
            "separate worlds. Add it as a connection of its own."
        )


def demand_callback_secret(secret: SecretStr) -> None:
    if not CALLBACK_SECRET.fullmatch(secret.get_secret_value()):
        raise ConnectionProblem(
            "This cannot be a callback secret: it must be plain text without spaces, as Scale's dashboard shows it."
        )
