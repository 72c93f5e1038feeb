"""Which of a persona's routes a call may take, by what is known of the call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scale_mcp.hosting.reach import REACH, Reach

if TYPE_CHECKING:
    from scale_mcp.hosting.personas import Persona, Route, When
    from scale_mcp.models.base import RequestModel
    from scale_mcp.tools.card import Card

EVERYWHERE = "work"  # the toolset whose tools ask no account


@dataclass(frozen=True)
class Facts:
    """What is known of a call. ``task`` and ``batch`` are what it is about, and live in one connection only."""

    tool: str
    toolset: str
    task_type: str | None = None
    project: str | None = None
    task: str | None = None
    batch: str | None = None

    @property
    def bound(self) -> bool:
        """Whether it is about something that has to be where it is."""
        return self.task is not None or self.batch is not None

    def of(self, project: str | None, task_type: str | None) -> Facts:
        """The same, with what was found out about the task or batch where the call itself does not say it.

        "" stands for a task of no project, which is none of those that a rule names.
        """
        return replace(self, project=self.project or project or "", task_type=self.task_type or task_type)


def facts_of(card: Card, request: RequestModel) -> Facts:
    reach = REACH.get(card.name, Reach(whole_account=True))
    task_type = getattr(request, "task_type", None) or getattr(request, "type", None)
    return Facts(
        tool=card.name,
        toolset=card.toolset,
        task_type=task_type if isinstance(task_type, str) else None,
        project=_text(request, reach.project),
        task=_text(request, reach.task),
        batch=_text(request, reach.batch),
    )


def matching(persona: Persona, facts: Facts) -> list[Route]:
    """The routes that a call may take, in the order to try them, one per connection.

    What is about a task or batch may also be where a route leads whose project or task type nobody knows it to have;
    those come last.
    """
    if facts.toolset == EVERYWHERE:
        found = list(persona.routes)
    else:
        verdicts = [(route, agrees(route.when, facts)) for route in persona.routes]
        found = [route for route, verdict in verdicts if verdict]
        if facts.bound:
            found += [route for route, verdict in verdicts if verdict is None]
    first: dict[str, Route] = {}
    for route in found:
        first.setdefault(route.connection, route)
    return list(first.values())


def agrees(when: When, facts: Facts) -> bool | None:
    """Whether a rule is for this call; None when that depends on what nobody knows."""
    if (when.toolsets and facts.toolset not in when.toolsets) or (when.tools and facts.tool not in when.tools):
        return False
    unknown = False
    for wanted, known in ((when.task_types, facts.task_type), (when.projects, facts.project)):
        if wanted and known is None:
            unknown = True
        elif wanted and known not in wanted:
            return False
    return None if unknown else True


def argument(request: RequestModel, name: str) -> Any:
    """An argument, or what is sent under its name among the further parameters."""
    value = getattr(request, name, None)
    return value if value is not None else (getattr(request, "extra_params", None) or {}).get(name)


def _text(request: RequestModel, name: str) -> str | None:
    value = argument(request, name) if name else None
    return value if isinstance(value, str) and value else None
