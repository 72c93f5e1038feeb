"""What is wrong with a persona, all of it at once, each with its cure. Nothing that is misspelt is taken silently."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import fields
from decimal import Decimal

from scale_mcp.hosting.personas import NAME, Budget, Confirm, Persona, Route
from scale_mcp.hosting.scopes import TOOLSETS, problems_with_denials, problems_with_scopes, problems_with_tools
from scale_mcp.tools.card import RISKS

MAX_TEXT = 2_000  # characters of a purpose
MAX_LIMIT = 1_000_000_000


def problems_with(persona: Persona) -> Iterator[str]:
    """A sentence for each thing that is wrong; none for a persona that can be kept."""
    if not NAME.fullmatch(persona.name):
        yield (
            f"{persona.name[:80]!r} cannot be a persona's name: it has 1 to 64 letters, digits, - and _, and begins "
            "with a letter or digit."
        )
    if len(persona.purpose) > MAX_TEXT:
        yield f"The purpose may have at most {MAX_TEXT} characters."
    yield from problems_with_scopes(persona.scopes)
    yield from problems_with_tools(persona.tools)
    yield from problems_with_denials(persona.deny)
    if persona.confirm not in typing.get_args(Confirm):
        yield f"confirm is {persona.confirm!r}; choose {', '.join(typing.get_args(Confirm))}."
    if persona.confirm_risk not in RISKS or persona.confirm_risk == "read":
        yield f"confirm_risk is {persona.confirm_risk!r}; choose write, spend or destroy."
    for what in ("projects", "models"):
        if not all(isinstance(name, str) and name.strip() for name in getattr(persona, what)):
            yield f"{what} holds an empty name; remove it."
    yield from _problems_with_budget(persona.budget)
    for route in persona.routes:
        yield from _problems_with_route(route)


def _problems_with_budget(budget: Budget) -> Iterator[str]:
    for limit in fields(Budget):
        value = getattr(budget, limit.name)
        if value is None:
            continue
        if isinstance(value, Decimal) and (not value.is_finite() or value.as_tuple().exponent < -6):  # type: ignore[operator]
            yield f"budget {limit.name} is {value}; write a number with at most six decimals."
        elif not 0 <= value <= MAX_LIMIT:
            yield f"budget {limit.name} is {value}; write a number from 0 to {MAX_LIMIT:,}."


def _problems_with_route(route: Route) -> Iterator[str]:
    if not route.connection.strip():
        yield "A route names no connection; `scale-mcp connection list` shows the ones there are."
    for toolset in route.when.toolsets:
        if toolset not in TOOLSETS:
            yield f"A route is for toolset {toolset[:80]!r}, which does not exist; known: {', '.join(TOOLSETS)}."
    yield from problems_with_tools(route.when.tools)
