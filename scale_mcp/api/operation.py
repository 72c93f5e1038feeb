"""One request as a resource describes it, before it becomes HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scale_mcp.api.errors import RefusedBeforeSending
from scale_mcp.api.paths import build_path
from scale_mcp.api.retry import Repeat

Query = Mapping[str, Any]
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
NOTHING: Any = object()  # no body at all, unlike None, {} and []


@dataclass(frozen=True)
class Stream:
    """A body sent in pieces. ``pieces`` starts from the beginning each time, so that an attempt can be repeated."""

    pieces: Callable[[], AsyncIterator[bytes]]
    length: int
    content_type: str


@dataclass(frozen=True, slots=True)
class Operation:
    """What to send, and what may be done when it is not known whether it took effect.

    ``find_out`` completes "To find out, …" in the error of a write whose outcome is unknown.
    """

    method: str
    template: str
    segments: dict[str, str] = field(default_factory=dict)
    query: Query = field(default_factory=dict)
    body: Any = NOTHING
    stream: Stream | None = None
    repeat: Repeat = Repeat.FREELY
    find_out: str = "read the object that this was about."
    plain_answer: bool = False  # a success may come without JSON

    @property
    def path(self) -> str:
        return build_path(self.template, self.segments)

    @property
    def reads(self) -> bool:
        """Whether it changes nothing, so that no doubt can arise."""
        return self.method == "GET"

    def pairs(self) -> list[tuple[str, str]]:
        """The query: nothing for None, true/false, lists as repeated keys."""
        pairs: list[tuple[str, str]] = []
        for name, value in self.query.items():
            for item in value if isinstance(value, list | tuple) else [value]:
                if item is not None:
                    pairs.append((name, _written(item)))
        return pairs

    def encoded_body(self) -> bytes | None:
        """The JSON body, None when there is none."""
        if self.body is NOTHING:
            return None
        try:
            return _JSON.encode(self.body).encode()
        except (ValueError, TypeError, RecursionError) as error:
            kind = type(error).__name__
        raise RefusedBeforeSending(
            f"The request cannot be written as JSON ({kind}).",
            next_step="Send plain values only: no NaN or infinite numbers, no broken characters, no endless nesting.",
        )


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        return text
    raise RefusedBeforeSending("A query value holds broken characters.", next_step="Send valid Unicode text.")
