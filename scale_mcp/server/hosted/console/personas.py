"""Personas: what they may use, what they have used today, and their tokens."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scale_mcp.hosting.budgets import Spent
from scale_mcp.hosting.clock import stamp
from scale_mcp.hosting.persona_store import PersonaError, Personas
from scale_mcp.hosting.tokens import TokenRecord, Tokens
from scale_mcp.server.hosted.console.frame import HOME, Form, Frame, Notice, Refused, see_other
from scale_mcp.server.hosted.console.sessions import SignedIn
from scale_mcp.server.hosted.console.states import State

if TYPE_CHECKING:
    from scale_mcp.hosting.personas import Persona
    from scale_mcp.hosting.personas import Route as ConnectionRoute

PAGE = 100
NOTICES = {"revoked": Notice("The token is revoked. Every server refuses it from the next call on.")}
CONFIRM = {
    "auto": "if its client can ask one",
    "always": "always; a call is refused where its client cannot ask",
    "never": "never",
    "operator": "always; where its client cannot ask, the call waits under Approvals",
}


@dataclass(frozen=True)
class Use:
    """What is used of one limit."""

    unit: str
    used: str
    limit: str
    share: int  # percent, 100 at most


@dataclass(frozen=True)
class TokenLine:
    record: TokenRecord
    state: State
    last_used_at: str | None  # None: not among the persona's most recent calls

    @property
    def good(self) -> bool:
        return self.state.tone == "good"


def routes(frame: Frame) -> list[Route]:
    house = frame.house
    everybody = Personas(house.database, house.recorder, frame.clock)
    tokens = Tokens(house.database, house.recorder, frame.clock)

    async def personas(request: Request, signed_in: SignedIn) -> Response:
        named = request.query_params.get("name", "").strip()[:64]
        page = _page(request.query_params.get("page"))
        found = [each for each in await everybody.list() if named.lower() in each.name.lower()]
        spent, good_tokens = await frame.overview.spent_today(), await frame.overview.good_tokens()
        return await frame.shown(
            "personas.html",
            signed_in,
            lines=[
                (each, state_of(each), uses_of(each, spent.get(each.id, Spent())), good_tokens.get(each.id, 0))
                for each in found[page * PAGE : (page + 1) * PAGE]
            ],
            named=named,
            count=len(found),
            page=page,
            more=len(found) > (page + 1) * PAGE,
        )

    async def persona(request: Request, signed_in: SignedIn) -> Response:
        try:
            found = await everybody.get(request.path_params["persona"])
        except PersonaError:
            raise Refused(HTTPStatus.NOT_FOUND, "There is no such persona. It may have been removed.") from None
        its_tokens = await tokens.list(found.id)
        uses = await frame.overview.token_uses(found.name, [token.id for token in its_tokens])
        now = stamp(frame.clock())
        return await frame.shown(
            "persona.html",
            signed_in,
            persona=found,
            state=state_of(found),
            routes=[(route.connection, conditions(route), route.fallback) for route in found.routes],
            confirm=confirm_words(found),
            uses=uses_of(found, await house.budgets.spent(found)),
            tokens=[TokenLine(token, _token_state(token, now), uses.get(token.id)) for token in its_tokens],
            notice=NOTICES.get(request.query_params.get("done", "")),
        )

    async def revoke(request: Request, signed_in: SignedIn, form: Form) -> Response:
        revoked = await tokens.revoke(request.path_params["token"], actor=signed_in.actor)
        return see_other(f"{HOME}/personas/{revoked.persona}?done=revoked")

    return [
        Route(f"{HOME}/personas", frame.page(personas), methods=["GET"]),
        Route(f"{HOME}/personas/{{persona}}", frame.page(persona), methods=["GET"]),
        Route(f"{HOME}/tokens/{{token}}/revoke", frame.action(revoke), methods=["POST"]),
    ]


def state_of(persona: Persona) -> State:
    if persona.disabled:
        return State("disabled", "bad")
    if not (persona.scopes or persona.tools):
        return State("may use nothing", "wait")
    if not persona.routes:
        return State("no connection", "wait")
    return State("read-only", "good") if persona.read_only else State("enabled", "good")


def uses_of(persona: Persona, spent: Spent) -> list[Use]:
    """What is used of each limit that the persona has."""
    budget = persona.budget
    return [
        _use(unit, used, limit)
        for unit, used, limit in (
            ("calls this minute", spent.calls_this_minute, budget.calls_per_minute),
            ("calls today", spent.calls, budget.calls_per_day),
            ("tasks today", spent.tasks, budget.tasks_per_day),
            ("cost today", spent.cost, budget.cost_per_day),
        )
        if limit is not None
    ]


def confirm_words(persona: Persona) -> str:
    """When a person is asked before a call of this persona goes to a live account."""
    words = CONFIRM[persona.confirm]
    return words if persona.confirm == "never" else f"{words} (live calls of risk {persona.confirm_risk} and above)"


def conditions(route: ConnectionRoute) -> str:
    """Which calls a route is for, in words."""
    when = route.when
    kinds: dict[Literal["toolsets", "tools", "task types", "projects"], tuple[str, ...]] = {
        "toolsets": when.toolsets,
        "tools": when.tools,
        "task types": when.task_types,
        "projects": when.projects,
    }
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names) or "all calls"


def _use(unit: str, used: int | Decimal, limit: int | Decimal) -> Use:
    share = min(100, int(100 * used / limit)) if limit else 100
    return Use(unit, f"{used:,f}" if isinstance(used, Decimal) else f"{used:,}", f"{limit:,}", share)


def _token_state(token: TokenRecord, now: str) -> State:
    if token.revoked_at is not None:
        return State("revoked", "idle")
    if token.expires_at is not None and token.expires_at <= now:
        return State("expired", "idle")
    return State("good", "good")


def _page(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 6 else 0
