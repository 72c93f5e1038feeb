"""What ``scale-mcp persona add`` and ``edit`` take, as fields of a persona."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scale_mcp.cli.console import Exit, stop

if TYPE_CHECKING:
    from scale_mcp.hosting.personas import Budget, Route

LISTS = "Lists: repeat the flag or separate by commas; '' empties"
LIMITS = "Limits: a number, or none"
NONE = "none"
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
CONDITIONS = {"toolset": "toolsets", "tool": "tools", "task_type": "task_types", "project": "projects"}

Many = list[str] | None
Purpose = Annotated[str | None, typer.Option(help="What it is for.")]
Scopes = Annotated[Many, typer.Option("--scope", help="Such as tasks:read, batches:*, *:read.", rich_help_panel=LISTS)]
Tools = Annotated[Many, typer.Option("--tool", help="A single tool to allow besides.", rich_help_panel=LISTS)]
Deny = Annotated[
    Many, typer.Option("--deny", help="A tool or scope never to allow; wins over the rest.", rich_help_panel=LISTS)
]
Projects = Annotated[
    Many,
    typer.Option(
        "--project",
        help="The only projects it may touch and see; '' means all. Not split at commas, which names may hold.",
        rich_help_panel=LISTS,
    ),
]
Models = Annotated[Many, typer.Option("--model", help="Models its owner prefers.", rich_help_panel=LISTS)]
Routes = Annotated[
    list[str] | None,
    typer.Option(
        "--route",
        metavar="CONNECTION[,CONDITION…][,fallback]",
        help="A connection for its calls, tried in the order given. Conditions: toolset=, tool=, task_type=, project=.",
    ),
]
ReadOnly = Annotated[bool | None, typer.Option("--read-only/--read-write", help="Whether it may change nothing.")]
Confirm = Annotated[str | None, typer.Option(help="When a person is asked: auto, always, never, operator.")]
ConfirmRisk = Annotated[str | None, typer.Option(help="Lowest risk that is asked about: write, spend, destroy.")]
CallsPerMinute = Annotated[str | None, typer.Option(metavar="N", help="Calls a minute.", rich_help_panel=LIMITS)]
CallsPerDay = Annotated[str | None, typer.Option(metavar="N", help="Calls a day (UTC).", rich_help_panel=LIMITS)]
TasksPerDay = Annotated[str | None, typer.Option(metavar="N", help="Tasks created a day.", rich_help_panel=LIMITS)]
CostPerDay = Annotated[
    str | None,
    typer.Option(
        metavar="AMOUNT", help="Estimated cost of live tasks a day; needs a rate card.", rich_help_panel=LIMITS
    ),
]


def changes_from(budget: Budget, **given: Any) -> dict[str, Any]:
    """The fields that flags name, with their values. ``budget`` is the one that single limits go into."""
    from dataclasses import replace

    changes: dict[str, Any] = {}
    for name in ("purpose", "read_only", "confirm", "confirm_risk", "disabled"):
        if given.get(name) is not None:
            changes[name] = given[name]
    for name in ("scopes", "tools", "deny", "projects", "models"):
        if given.get(name) is not None:
            changes[name] = _split(given[name]) if name != "projects" else _plain(given[name])
    if given.get("routes") is not None:
        changes["routes"] = tuple(route_from(text) for text in given["routes"] if text.strip())
    limits: dict[str, Any] = {
        name: _limit(name, given[name])
        for name in ("calls_per_minute", "calls_per_day", "tasks_per_day", "cost_per_day")
        if given.get(name) is not None
    }
    return {**changes, "budget": replace(budget, **limits)} if limits else changes


def route_from(text: str) -> Route:
    """``night,task_type=imageannotation,project=streets,fallback`` as a route."""
    from scale_mcp.hosting.personas import Route, When

    connection, *rest = [part.strip() for part in text.split(",")]
    conditions: dict[str, list[str]] = {}
    fallback = False
    for part in rest:
        name, equals, value = part.partition("=")
        if part == "fallback":
            fallback = True
        elif equals and value and name in CONDITIONS:
            conditions.setdefault(CONDITIONS[name], []).append(value)
        else:
            closest = difflib.get_close_matches(name, [*CONDITIONS, "fallback"], n=1)
            meant = f" Did you mean {closest[0]}?" if closest else ""
            stop(
                Exit.USAGE,
                f"--route {text!r}: {part!r} is no condition.{meant} Write CONNECTION, then any of "
                f"{', '.join(f'{known}=…' for known in CONDITIONS)}, fallback.",
            )
    return Route(connection, When(**{name: tuple(values) for name, values in conditions.items()}), fallback)


def duration(text: str) -> timedelta | None:
    """``90d``, ``12h``, ``30m``, ``2w``; ``never`` is None."""
    if text == "never":
        return None
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text.strip().lower())
    if match is None:
        stop(Exit.USAGE, f"--expires-in {text!r}: write a number and m, h, d or w, such as 90d, or never.")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def _split(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def _plain(values: Sequence[str]) -> tuple[str, ...]:
    """Names that people chose may hold commas, so they are not split."""
    return tuple(value for value in values if value.strip())


def _limit(name: str, text: str) -> int | Decimal | None:
    if text.strip().lower() == NONE:
        return None
    try:
        return Decimal(text) if name == "cost_per_day" else int(text)
    except (ValueError, InvalidOperation):
        stop(Exit.USAGE, f"--{name.replace('_', '-')} {text!r}: write a number, or {NONE}.")
