"""Opaque page tokens: they hold the position of the last row of a page, so a page costs the same at any depth."""

from __future__ import annotations

import base64
import binascii
import re

from scale_mcp.sandbox.http import invalid

TOKEN = re.compile(r"after:(\d{1,18})(?:/(\d{1,18}))?", re.ASCII)


def token_after(position: int, total: int | None = None) -> str:
    """The token of the page that begins after the row at ``position``. A total that is costly to find travels along."""
    text = f"after:{position}" if total is None else f"after:{position}/{total}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(token: str | None) -> tuple[int | None, int | None]:
    """The position and the total of a token; an empty one means the first page, like none. 400 for any other."""
    if not token:
        return None, None
    try:
        found = TOKEN.fullmatch(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii"))
    except (binascii.Error, ValueError):
        found = None
    if found is None:
        raise invalid('"next_token" is not a token of this list')
    return int(found[1]), None if found[2] is None else int(found[2])
