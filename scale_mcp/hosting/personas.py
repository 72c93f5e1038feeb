"""A persona: a named caller of a hosted server, with what it may use, through which connections, at what cost.

Plain records, as every part of the hosted server passes them around. ``persona_store`` keeps them, ``directory`` finds
the one that a token belongs to, ``scopes`` says what it may use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from scale_mcp.tools.card import Risk

Confirm = Literal["auto", "always", "never", "operator"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class When:
    """Which calls a route is for: all of those that agree with every list given; an empty list says nothing."""

    toolsets: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    task_types: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()


@dataclass(frozen=True)
class Route:
    """Calls that ``when`` describes go through this connection. A persona's routes are tried in their order.

    ``fallback``: whether a call may move on to the next matching route when this one is limited.
    """

    connection: str
    when: When = When()
    fallback: bool = False


@dataclass(frozen=True)
class Budget:
    """Limits of one persona. None is no limit. Days begin at midnight UTC; costs are in the operator's currency."""

    calls_per_day: int | None = None
    tasks_per_day: int | None = None
    cost_per_day: Decimal | None = None
    calls_per_minute: int | None = None

    @property
    def unlimited(self) -> bool:
        return self == Budget()


@dataclass(frozen=True)
class Persona:
    """A named caller.

    scopes        what it may use: ``tasks:read``, ``batches:*``, ``*:read``, ``*``; nothing is allowed by default
    tools         single tools allowed besides
    deny          tools or scopes it may not use, whatever allows them
    projects      the only projects it may touch and see; empty means all of its connections'
    confirm       when a person is asked before a call of at least ``confirm_risk``; ``operator`` leaves it to
                  ``scale-mcp approve``
    models        models that its owner prefers, in order; handed on, never used here
    declared      whether a declaration file owns it; a change made elsewhere lasts until that file is applied again
    """

    id: str
    name: str
    purpose: str = ""
    scopes: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    read_only: bool = False
    confirm: Confirm = "auto"
    confirm_risk: Risk = "destroy"
    budget: Budget = Budget()
    routes: tuple[Route, ...] = ()
    models: tuple[str, ...] = ()
    disabled: bool = False
    created_at: str = ""
    declared: bool = False


@dataclass(frozen=True)
class Caller:
    """Who is calling, as verified on this very request.

    user          whom the token was made for, or the subject that the authorization server named
    revision      the store's number of changes when this was read: what was remembered at another number is out of date
    token_id      of a persona's token; None for callers whom an authorization server vouches for
    expires_at    when the token ends; None when it does not
    client        the OAuth client, when there is one
    """

    persona: Persona
    user: str
    revision: int
    token_id: str | None = None
    expires_at: datetime | None = None
    client: str = ""


POLICY = (
    "scopes",
    "tools",
    "deny",
    "projects",
    "read_only",
    "confirm",
    "confirm_risk",
    "budget",
    "routes",
    "models",
)
"""The fields of a persona that are kept together as one JSON value."""


def policy_of(persona: Persona) -> dict[str, Any]:
    """What a persona may do, as JSON: only what is not the default."""
    wire: dict[str, Any] = {}
    for name in POLICY:
        value = getattr(persona, name)
        if value != _DEFAULTS[name]:
            wire[name] = _as_json(value)
    return wire


def with_policy(persona: Persona, wire: Mapping[str, Any]) -> Persona:
    """The persona with what ``policy_of`` wrote.

    What this version does not understand a newer one wrote, and it may be a restriction: such a persona is disabled
    here, rather than allowed what nobody meant.
    """
    try:
        given = {name: _FROM_JSON.get(name, _plain)(value) for name, value in wire.items()}
        if not given.keys() <= set(POLICY):
            return replace(persona, disabled=True)
        return replace(persona, **given)
    except (TypeError, KeyError, ArithmeticError):
        return replace(persona, disabled=True)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _budget(wire: Mapping[str, Any]) -> Budget:
    cost = wire.get("cost_per_day")
    return Budget(**{**wire, "cost_per_day": Decimal(cost) if cost is not None else None})


def _route(wire: Mapping[str, Any]) -> Route:
    when = When(**{name: tuple(values) for name, values in wire.get("when", {}).items()})
    return Route(**{**wire, "when": when})


def _routes(wire: list[Mapping[str, Any]]) -> tuple[Route, ...]:
    return tuple(_route(route) for route in wire)


_FROM_JSON: dict[str, Callable[[Any], Any]] = {"budget": _budget, "routes": _routes}


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Budget | Route | When):
        shown = {f.name: getattr(value, f.name) for f in fields(value)}
        return {name: _as_json(item) for name, item in shown.items() if item not in (None, (), False, When())}
    return value


_DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(Persona)}
