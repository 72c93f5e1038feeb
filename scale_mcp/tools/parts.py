"""Reading one part of a large value: a dotted path, and a long list in pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scale_mcp.tools.card import ToolFailure
from scale_mcp.tools.fitting import compact, outline, shorten

PART_CHARACTERS = 6_000


@dataclass(frozen=True)
class Part:
    """A part of a value. For lists and strings, ``total`` counts the whole and ``next_offset`` says where to go on."""

    value: Any
    total: int | None
    next_offset: int | None
    notes: list[str]


def part_of(whole: Any, path: str, offset: int = 0, characters: int = PART_CHARACTERS) -> Part:
    """What lies at ``path`` (``response.annotations``, ``params.attachments[3]``), from item ``offset`` on.

    Raises ToolFailure when nothing lies there; the text says what does.
    """
    value = _at(whole, path)
    if not isinstance(value, list | str):
        shorter, cut = shorten(value, characters, path)
        return Part(shorter, None, None, cut)
    if isinstance(value, str):
        piece = value[offset : offset + characters]
        end = offset + len(piece)
        return Part(piece, len(value), end if end < len(value) else None, [])
    kept: list[Any] = []
    notes: list[str] = []
    room = characters
    for index in range(offset, len(value)):
        item, cuts = shorten(value[index], characters, f"{path}[{index}]")
        room -= len(compact(item)) + 1
        if kept and room < 0:
            break
        kept.append(item)
        notes += cuts
    end = offset + len(kept)
    return Part(kept, len(value), end if end < len(value) else None, notes)


def _at(whole: Any, path: str) -> Any:
    value, rest, seen = whole, path.replace("[", ".").replace("]", ""), ""
    while rest:
        if isinstance(value, dict):
            # Names may hold dots themselves, so the longest one that fits is taken.
            name = max((key for key in value if rest == key or rest.startswith(f"{key}.")), key=len, default=None)
            if name is None:
                raise _nothing(path, seen, value)
            value = value[name]
        elif isinstance(value, list) and (head := rest.partition(".")[0]).isdigit() and int(head) < len(value):
            name = head
            value = value[int(head)]
        else:
            raise _nothing(path, seen, value)
        seen = f"{seen}.{name}".lstrip(".")
        rest = rest[len(name) + 1 :]
    return value


def _nothing(path: str, seen: str, value: Any) -> ToolFailure:
    where = f"`{seen}`" if seen else "the object"
    return ToolFailure(f"There is nothing at `{path[:200]}`: {where} is {outline(value, 2)[:600]}.")
