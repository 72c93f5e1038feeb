"""What was asked of the sandbox: the last requests to ``/v1``, for tests and people to look at.

It is kept in memory: a log that slowed every request down, or that outlived the process, would be of no use here.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from scale_mcp.sandbox.app import API_PREFIX, Exchange

if TYPE_CHECKING:
    from scale_mcp.sandbox.sandbox import Sandbox

KEPT_REQUESTS = 10_000
KEPT_BODY_BYTES = 8_000


class RequestLog:
    """A bounded log that nevertheless counts everything. Keys appear only as a fingerprint."""

    def __init__(self, sandbox: Sandbox, kept: int = KEPT_REQUESTS) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=kept)
        self.total = 0
        self.by_operation: Counter[str] = Counter()

    def record(self, exchange: Exchange) -> None:
        """Note a finished request to the API; what is asked of the admin pages is not of interest."""
        if not exchange.path.startswith(f"{API_PREFIX}/"):
            return
        self.total += 1
        self.by_operation[exchange.operation or "(none)"] += 1
        self._entries.append(
            {
                "number": self.total,
                "at": exchange.at,
                "method": exchange.method,
                "path": exchange.path,
                "query": exchange.query,
                "operation": exchange.operation,
                "content_type": exchange.headers.get("content-type"),
                "user_agent": exchange.headers.get("user-agent"),
                # An upload of 80 MB must not stay in memory, hence a copy of the beginning only.
                "body": exchange.body[:KEPT_BODY_BYTES],
                "body_bytes": len(exchange.body),
                "status": exchange.status or None,
                "milliseconds": round(exchange.seconds * 1000, 3),
                "key": exchange.key_id or None,
                "fault": exchange.fault,
            }
        )

    def entries(self, *, limit: int = 100, after: int = 0, path: str = "", **wanted: Any) -> list[dict[str, Any]]:
        """The newest ``limit`` entries, oldest first, numbered above ``after`` and with ``path`` within their raw path.

        ``wanted`` are further members that must be equal, such as ``status=429``. A ``status`` of None means that the
        connection was dropped instead of an answer.
        """
        found: list[dict[str, Any]] = []
        for entry in reversed(self._entries):
            if entry["number"] <= after or len(found) == limit:
                break
            if path in entry["path"] and all(entry[name] == value for name, value in wanted.items()):
                found.append({**entry, "body": _readable(entry)})
        return found[::-1]

    def clear(self) -> None:
        """Forget the entries and start counting anew."""
        self._entries.clear()
        self.by_operation.clear()
        self.total = 0


def _readable(entry: dict[str, Any]) -> Any:
    """A body as one wants to read it: the JSON value, else text; of multipart and of what is long only the gist."""
    kept: bytes = entry["body"]
    if not kept:
        return None
    if (entry["content_type"] or "").startswith("multipart/"):
        return f"({entry['body_bytes']} bytes of {entry['content_type'].partition(';')[0]})"
    text = kept.decode(errors="replace")
    if len(kept) < entry["body_bytes"]:
        return f"{text}… ({entry['body_bytes']} bytes)"
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
