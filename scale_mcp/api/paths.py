"""Paths: every segment is encoded whole, and what comes out must match the template it was made from.

Project and batch names stand in paths, so a name like ``../../task/…`` must stay one segment.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote

from scale_mcp.api.errors import RefusedBeforeSending

MAX_SEGMENT = 1000  # characters of a name or id

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,200}")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def build_path(template: str, segments: dict[str, str]) -> str:
    """The path of ``template`` (``/task/{task_id}/tags``) with its segments filled in and percent-encoded.

    Raises RefusedBeforeSending for a segment that is empty, ``.`` or ``..``, too long, or holds control characters.
    """
    path = template.format(**{name: _encode(name, value) for name, value in segments.items()})
    match = _pattern(template).fullmatch(path)
    if match is None or any(unquote(match[name]) != value for name, value in segments.items()):
        raise RefusedBeforeSending(f"The path made from {template} does not match it.")  # pragma: no cover
    return path


def _encode(name: str, value: str) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):  # an id or a plain name, as nearly always
        return value
    label = name.replace("_", " ")
    if not isinstance(value, str) or not value.strip():
        raise RefusedBeforeSending(f"The {label} is empty.", next_step=f"Give the {label}.")
    if value in (".", ".."):
        raise RefusedBeforeSending(
            f'The {label} "{value}" cannot stand in a path.', next_step="Give the real name or id."
        )
    if len(value) > MAX_SEGMENT:
        raise RefusedBeforeSending(
            f"The {label} has {len(value)} characters.", next_step=f"At most {MAX_SEGMENT} are possible."
        )
    if _UNPRINTABLE.search(value):
        raise RefusedBeforeSending(
            f"The {label} holds control characters.", next_step="Give the name or id without line breaks and the like."
        )
    return quote(value, safe="")


@lru_cache(maxsize=128)
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/?#]+)", re.escape(template)))
