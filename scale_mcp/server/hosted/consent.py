"""A person's yes for a persona's calls: by the client where it can ask, else as the persona's ``confirm`` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scale_mcp.hosting.audit.recorder import digest_of
from scale_mcp.server.consent import Asked, ConsentGate, NoConsent, Place, question
from scale_mcp.server.hosted.trail import current_step
from scale_mcp.server.hosted.visit import visit_of_this_request
from scale_mcp.tools.card import ToolFailure

if TYPE_CHECKING:
    import mcp.types as t

    from scale_mcp.hosting.house import House
    from scale_mcp.hosting.personas import Persona
    from scale_mcp.server.guard import Context

LOOK_AGAIN = 30.0  # seconds; an operator is a person


class AwaitingApproval(ToolFailure):
    """The call waits for the operator. Nothing was sent."""

    code = "awaiting_approval"
    retryable = True
    retry_after = LOOK_AGAIN


class PersonaConsent(ConsentGate):
    """With ``confirm = "operator"``, what the client cannot ask its person the operator decides."""

    def __init__(self, house: House, persona: Persona) -> None:
        self._by_operator = persona.confirm == "operator"
        mode = "always" if persona.confirm == "operator" else persona.confirm
        super().__init__(mode, persona.confirm_risk, house.spent)
        self._approvals = house.approvals
        self._persona = persona

    async def obtain(
        self, ctx: Context | None, params: t.CallToolRequestParams, call: Asked, place: Place
    ) -> t.InputRequiredResult | None:
        entry = current_step().entry
        try:
            asked = await super().obtain(ctx, params, call, place)
        except ToolFailure as refusal:
            entry.decision("denied", str(refusal))
            raise
        if asked is not None:
            entry.decision("asked", "the client is to ask its person")
        elif self.asks_about(call.card, call.risk, place):
            entry.decision("agreed", f"confirm = {self._persona.confirm}")
        return asked

    async def without_asking(self, call: Asked, place: Place) -> None:
        if not self._by_operator:
            await super().without_asking(call, place)
            return
        digest = digest_of(call.arguments)
        of_call = {"persona_id": self._persona.id, "tool": call.card.name, "digest": digest}
        decided = await self._approvals.take(**of_call)
        if decided == "approved":
            return
        if decided == "denied":
            raise NoConsent(
                f"The operator refused {call.card.name} with these arguments; nothing was sent to Scale. Do not repeat "
                "the call."
            )
        approval = await self._approvals.request(
            **of_call,
            persona=self._persona.name,
            user=visit_of_this_request().signed_in.caller.user,
            arguments=call.arguments,
            why=question(call.card, call.risk, {}, place.address),
        )
        raise AwaitingApproval(
            f"{call.card.name} waits for the operator's approval {approval.id}; nothing was sent to Scale. Tell the "
            "person, and repeat the call with the same arguments once it is approved; the approval serves one call."
        )
