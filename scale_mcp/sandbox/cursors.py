"""Opaque page tokens: they hold the position of the last row of a page, so a page costs the same at any depth."""

from __future__ import annotations

import base64
import binascii

from scale_mcp.sandbox.http import ApiError


def token_after(position: int) -> str:
    """The token of the page that begins after the row at ``position``."""
    return base64.urlsafe_b64encode(f"after:{position}".encode()).decode().rstrip("=")


def position_of(token: str | None) -> int | None:
    """The position a token stands for; none for the first page. An empty token means the first page, too."""
    if not token:
        return None
    try:
        word, _, position = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii").partition(":")
        if word == "after" and position.isascii() and position.isdigit():
            return int(position)
    except (binascii.Error, ValueError):
        pass
    raise ApiError(400, 'Parameter is invalid, reason: "next_token" is not a token of this list')
