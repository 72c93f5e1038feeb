"""The desk of one persona: every call is written down, held to what the persona may do, routed, and told back.

In the order of a call: intent into the trail → arguments checked → kept to the persona's projects → a person's yes
where one is needed → budget → router → kept to the projects again → outcome into the trail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mcp.types as t

from scale_mcp.api.errors import ScaleError
from scale_mcp.hosting.audit.writer import AuditUnavailable
from scale_mcp.hosting.budgets import CREATES_TASKS
from scale_mcp.hosting.matching import EVERYWHERE
from scale_mcp.server.calls import CallAnswer, CallDesk, Performed
from scale_mcp.server.consent import Asked, Place
from scale_mcp.server.guard import Context
from scale_mcp.server.hosted.consent import PersonaConsent
from scale_mcp.server.hosted.trail import current_step, written_down
from scale_mcp.server.hosted.visit import visit_of_this_request
from scale_mcp.server.limits import CallLimit
from scale_mcp.server.request_ids import request_id
from scale_mcp.server.results import failure
from scale_mcp.text import one_line
from scale_mcp.tools.card import Call, Card, Progress, ToolFailure, ToolOutput

if TYPE_CHECKING:
    from scale_mcp.api import ScaleApi
    from scale_mcp.hosting.house import House
    from scale_mcp.hosting.personas import Persona
    from scale_mcp.hosting.routing import Served
    from scale_mcp.settings import Settings

SERVED_META = "scale-mcp/served"


class PersonaDesk(CallDesk):
    """Takes the calls of one persona. Made anew when the persona changes."""

    def __init__(self, house: House, persona: Persona, settings: Settings) -> None:
        super().__init__(settings, CallLimit(settings.max_calls_per_minute), PersonaConsent(house, persona))
        self._house = house
        self._persona = persona
        self.confinement = house.confinement(persona)

    def refuse_over_limit(self) -> t.CallToolResult | None:
        """Refused later, when the call has been written down."""
        return None

    async def not_offered(self, ctx: Context | None, params: t.CallToolRequestParams, name: str) -> None:
        """Somebody tries what is not theirs, or is not there: they are told the same, but the trail knows."""
        about = self._about(ctx, params, one_line(name, 128), params.arguments or {})
        try:
            async with written_down(risk="read", request_id=request_id(), **about) as step:
                step.entry.decision("denied", "the persona has no such tool")
                step.outcome = "denied"
        except AuditUnavailable:  # nothing is done, so nothing has to be refused for it
            return

    async def outcome(
        self, ctx: Context | None, params: t.CallToolRequestParams, card: Card, arguments: dict[str, Any], call_id: str
    ) -> tuple[str, CallAnswer]:
        about = self._about(ctx, params, card.name, arguments)
        try:
            async with written_down(risk=card.risk, request_id=call_id, **about) as step:
                word: str
                answer: CallAnswer
                if refusal := super().refuse_over_limit():
                    step.entry.decision("denied", "too many calls a minute")
                    word, answer = "too_many_calls", refusal
                else:
                    word, answer = await super().outcome(ctx, params, card, arguments, call_id)
                step.outcome = word
                if isinstance(answer, t.CallToolResult):
                    _name_the_call(answer, call_id)
                    step.answer = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
                return word, answer
        except AuditUnavailable as problem:
            when, retryable = problem.retry_after, problem.retryable
            refusal = failure(str(problem), problem.code, retryable=retryable, retry_after_s=when, call_id=call_id)
            return problem.code, refusal

    async def admit(self, call: Asked) -> tuple[Asked, Place]:
        entry = current_step().entry
        try:
            account = (await self._house.router.candidates(self._persona, call.card, call.request))[0]
            request = await self.confinement.admit(call.card, call.request, account.api)
        except ToolFailure as refusal:
            entry.decision("denied", str(refusal))
            raise
        except ScaleError as error:
            raise self.confinement.uniform(call.card, call.request, error) from None
        entry.decision("allowed", call.card.scope)
        current_step().kind = account.kind
        return Asked(call.card, request, call.arguments), Place(account.kind == "live", account.api.base_url)

    async def perform(self, call: Asked, progress: Progress) -> Performed:
        """Take from the budget, let the router find who serves the call, and settle what it came to."""
        card, persona = call.card, self._persona
        served = await self._counted(call, progress)
        current_step().connection = served.connection
        output = served.output if card.risk == "read" else self.confinement.confine(card, call.request, served.output)
        told = served.told()
        current_step().facts["served"] = told
        return Performed(output, {SERVED_META: {"persona": persona.name, **told}})

    async def _counted(self, call: Asked, progress: Progress) -> Served:
        card, kind = call.card, current_step().kind
        assert kind is not None, "what is not admitted is not performed"

        async def ask(api: ScaleApi) -> ToolOutput:
            output = await card.run(self._means(card, api, progress), call.request)
            # What the router keeps of a read is what this persona may see of it; it answers the next one as the first.
            return self.confinement.confine(card, call.request, output) if card.risk == "read" else output

        lease = await self._house.budgets.take(self._persona, card, call.request, kind)
        created = int(card.name in CREATES_TASKS)  # what is not known to have failed counts
        try:
            return await self._house.router.run(self._persona, card, call.request, ask)
        except ToolFailure:
            created = 0
            raise
        except ScaleError as error:
            created = created if error.in_doubt else 0
            raise self.confinement.uniform(card, call.request, error) from None
        finally:
            await lease.settle(created)

    def _means(self, card: Card, api: ScaleApi, progress: Progress) -> Call:
        return Call(
            api=api,
            progress=progress,
            events=self._house.events_of(self._persona) if card.toolset == EVERYWHERE else None,
            visible_projects=self.confinement.visible_projects,
        )

    def _about(
        self, ctx: Context | None, params: t.CallToolRequestParams, tool: str, arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            "recorder": self._house.recorder,
            "tally": self._house.tally,
            "visit": visit_of_this_request(),
            "tool": tool,
            "arguments": arguments,
            "ctx": ctx,
            "meta": params.meta,
        }


def _name_the_call(answer: t.CallToolResult, call_id: str) -> None:
    """A failure carries the id under which the operator finds it in the trail and the log."""
    if answer.is_error and answer.meta is not None:
        for error in answer.meta.values():
            if isinstance(error, dict):
                error.setdefault("call_id", call_id)
