"""What a caller with a list of projects may see: the same answer for what is out of its sight and what does not exist.

Whoever has no such list sees everything, here written as None.
"""

from __future__ import annotations

from collections.abc import Collection

from scale_mcp.text import one_line
from scale_mcp.tools.card import ToolFailure

MOST_NAMED = 20  # of the caller's own projects in one message


class NotThere(ToolFailure):
    """Nothing of that name is in the caller's sight. Whether it exists elsewhere is not said."""

    code = "not_found"


def not_there(what: str, name: str, visible_projects: Collection[str] | None = None) -> NotThere:
    """``what`` is its kind: ``task``, ``batch``, ``project``. The caller's own projects are named where they help."""
    told = f'There is no {what} "{one_line(name, 200)}" here. Check its {"id" if what == "task" else "name"}.'
    if what == "project" and visible_projects:
        told = f"{told} Your projects: {named(visible_projects)}."
    return NotThere(told)


def named(projects: Collection[str]) -> str:
    """The names as one line of a message."""
    shown = ", ".join(f'"{one_line(name, 80)}"' for name in list(projects)[:MOST_NAMED])
    return shown + (f" and {len(projects) - MOST_NAMED} more" if len(projects) > MOST_NAMED else "")


def visible(project: str | None, visible_projects: Collection[str] | None) -> bool:
    """Whether something of this project is in sight. What belongs to no project is in nobody's list."""
    return visible_projects is None or (project is not None and project in visible_projects)
