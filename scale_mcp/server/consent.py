"""Asking a person before a call that cannot be undone.

Only calls on a live key are asked about; what a test key or the sandbox does costs nothing and binds nobody. The
question goes through elicitation, so the answer comes from the person at the client and never from the model:

* before 2026-07-28 the server asks while the call waits (``elicitation/create``);
* from 2026-07-28 on it answers the call with the question, and the client repeats the call with the answer. The
  state that links the two is sealed by ``RequestStateBoundary`` to tool, exact arguments, caller and ten minutes;
  that it serves only once is remembered here.

Where the client cannot ask anybody, the operator's ``confirm`` setting decides.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import mcp.types as t
from mcp import MCPError

from scale_mcp.models.base import RequestModel
from scale_mcp.server.guard import Context
from scale_mcp.server.logs import get_logger
from scale_mcp.text import one_line
from scale_mcp.tools.card import RISKS, Card, Risk, ToolFailure

log = get_logger(__name__)

LIFETIME = 600.0  # seconds in which a question may be answered
QUESTION = "consent"  # the key of our one question among a result's input requests
SHOWN = 600  # characters of one argument in a question
FIRST_MODERN = "2026-07-28"
FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"confirm": {"type": "boolean", "title": "Run it", "description": "Yes runs this call once."}},
    "required": ["confirm"],
}
ORDER = list(RISKS)
Confirm = Literal["auto", "always", "never"]


class NoConsent(ToolFailure):
    """Nobody agreed to the call."""

    code = "no_consent"


@dataclass(frozen=True)
class Asked:
    """A call whose arguments are checked: the card, its request, and the arguments as the client wrote them."""

    card: Card
    request: RequestModel
    arguments: dict[str, Any]

    @property
    def risk(self) -> Risk:
        return self.card.risk_for(self.request)


@dataclass(frozen=True)
class Place:
    """Where a call would act. ``real`` is a live account, where people are paid and nothing can be taken back."""

    real: bool
    address: str


class SpentAnswers(Protocol):
    """Remembers which questions were answered, so that an answer serves once."""

    async def spend(self, state: str, lifetime: float) -> bool:
        """False when it was spent before. After ``lifetime`` seconds the state is void by itself."""


class SpentHere:
    """Remembered by this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent: dict[str, float] = {}  # answered question → when its state expires anyway

    async def spend(self, state: str, lifetime: float) -> bool:
        now = self._clock()
        self._spent = {nonce: expires for nonce, expires in self._spent.items() if expires > now}
        if state in self._spent:
            return False
        self._spent[state] = now + lifetime
        return True


class ConsentGate:
    """Decides whether a call is asked about, asks, and takes the answer."""

    def __init__(self, mode: Confirm, confirm_risk: Risk, spent: SpentAnswers | None = None) -> None:
        self._mode = mode
        self._threshold = ORDER.index(confirm_risk)
        self._spent = spent if spent is not None else SpentHere()

    def asks_about(self, card: Card, risk: Risk, place: Place) -> bool:
        """Whether a person has to agree to a call of this risk."""
        if not place.real or self._mode == "never":
            return False
        return ORDER.index(risk) >= self._threshold or card.final

    async def obtain(
        self, ctx: Context | None, params: t.CallToolRequestParams, call: Asked, place: Place
    ) -> t.InputRequiredResult | None:
        """Return when the call may run; a result to send instead when the client must ask first.

        Raises ``NoConsent`` when the person says no or nobody can be asked, ``MCPError`` for a spent answer.
        """
        if not self.asks_about(call.card, call.risk, place):
            return None
        if ctx is None:
            raise RuntimeError("A call that a person must agree to came a way on which nobody can be asked.")
        card = call.card
        if not _can_ask(ctx):
            await self.without_asking(call, place)
            return None
        message = question(card, call.risk, call.arguments, place.address)
        if ctx.protocol_version >= FIRST_MODERN:
            answer = await self._answer(params)
            if answer is None:
                return _ask_back(message)
        else:
            answer = await _ask_now(ctx, message)
        agreed = answer.action == "accept" and (answer.content or {}).get("confirm") is True
        log.info("consent_given" if agreed else "consent_refused", tool=card.name, risk=call.risk, action=answer.action)
        if not agreed:
            raise NoConsent(
                f"The person did not agree to {card.name}; nothing was sent to Scale. Do not repeat the call unless "
                "they ask for it."
            )
        return None

    async def without_asking(self, call: Asked, place: Place) -> None:
        """Decide for a client that cannot ask anybody: return when the call may run, else raise ``ToolFailure``."""
        if self._mode == "always":
            raise NoConsent(
                f"Refused: {call.card.name} needs a person's yes on a live key, and this client cannot ask a person. "
                "Nothing was sent to Scale. Use a client that supports elicitation, use a test key, or let the "
                "operator set --confirm auto to rely on the client's own approval."
            )
        log.info("consent_left_to_host", tool=call.card.name, risk=call.risk)

    async def _answer(self, params: t.CallToolRequestParams) -> t.ElicitResult | None:
        """The answer that came with the repeated call. A state is spent by its first answer, whatever it says."""
        answer = (params.input_responses or {}).get(QUESTION)
        if params.request_state is None or not isinstance(answer, t.ElicitResult):
            return None
        if not await self._spent.spend(params.request_state, LIFETIME):
            log.warning("consent_replayed", tool=params.name)
            raise MCPError(  # the words the SDK uses for any other unusable state
                code=t.INVALID_PARAMS,
                message="Invalid or expired requestState",
                data={"reason": "invalid_request_state"},
            )
        return answer


def question(card: Card, risk: Risk, arguments: dict[str, Any], base_url: str) -> str:
    """What the person reads: the tool, where it acts, its arguments and what cannot be taken back."""
    lines = [f"Run {card.title} ({card.name}) on the LIVE Scale account at {base_url}?"]
    lines += [f"  {name}: {_shown(value)}" for name, value in arguments.items()]
    # What the arguments made milder than the card's risk has milder consequences, too.
    lines.append(card.consequence if card.consequence and risk == card.risk else f"This {RISKS[risk]}.")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    """One argument as one line; nothing in it can imitate a line of ours or hide characters."""
    text = json.dumps(value, ensure_ascii=False)
    return one_line(text, SHOWN) + (f" ({len(text):,} characters)" if len(text) > SHOWN else "")


def _can_ask(ctx: Context) -> bool:
    """Whether the client can show a form to a person. An empty capability means forms, by its oldest definition."""
    capabilities = ctx.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):
        return False
    return ctx.protocol_version >= FIRST_MODERN or ctx.session.can_send_request


def _ask_back(message: str) -> t.InputRequiredResult:
    request = t.ElicitRequest(params=t.ElicitRequestFormParams(message=message, requested_schema=FORM))
    return t.InputRequiredResult(input_requests={QUESTION: request}, request_state=secrets.token_urlsafe(16))


async def _ask_now(ctx: Context, message: str) -> t.ElicitResult:
    try:
        return await ctx.session.elicit_form(message, FORM, ctx.request_id)
    except MCPError as error:
        log.warning("consent_question_failed", code=error.code)
        raise NoConsent(
            "Refused: the client could not put the question to a person. Nothing was sent to Scale."
        ) from None
