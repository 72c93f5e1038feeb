"""Cursors for our own lists: an offset that only this process can have handed out."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import TypeVar

import mcp.types as t
from mcp import MCPError

Item = TypeVar("Item")


class Pages:
    """Cuts a fixed list into pages of ``size``; 0 makes one page of everything."""

    def __init__(self, size: int = 0) -> None:
        self._size = size
        self._key = os.urandom(32)

    def page(self, items: Sequence[Item], params: t.PaginatedRequestParams | None) -> tuple[list[Item], str | None]:
        """The page a request asks for and the cursor of the next. Raises -32602 for a cursor we did not give."""
        cursor = params.cursor if params is not None else None
        start = 0 if cursor is None else self._offset(cursor)
        end = start + self._size if self._size else len(items)
        return list(items[start:end]), self._cursor(end) if end < len(items) else None

    def _cursor(self, offset: int) -> str:
        text = str(offset)
        return base64.urlsafe_b64encode(f"{text}.{self._seal(text)}".encode()).decode().rstrip("=")

    def _offset(self, cursor: str) -> int:
        try:
            text, seal = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(".")
            known = hmac.compare_digest(seal, self._seal(text))
        except (ValueError, TypeError):
            known, text = False, ""
        if not known:
            raise MCPError(code=t.INVALID_PARAMS, message="Invalid cursor: start again without one.")
        return int(text)

    def _seal(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:24]
