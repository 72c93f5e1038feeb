"""One tool call from its arguments to its result: checked, consented to, run, and whatever happens, answered."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import mcp.types as t
import structlog
from mcp import MCPError

from scale_mcp.api.errors import ScaleError
from scale_mcp.server.connection import Connection
from scale_mcp.server.consent import Asked, ConsentGate, Place
from scale_mcp.server.guard import Context
from scale_mcp.server.limits import CallLimit
from scale_mcp.server.logs import get_logger
from scale_mcp.server.request_ids import request_id
from scale_mcp.server.results import failure, scale_failure, success
from scale_mcp.settings import Settings
from scale_mcp.tools.arguments import check
from scale_mcp.tools.card import Call, Card, Progress, ToolFailure, ToolOutput, no_progress

log = get_logger(__name__)

CallAnswer = t.CallToolResult | t.InputRequiredResult


@dataclass(frozen=True)
class Performed:
    """What a card's run gave, and what a program may want to know about how (for the result's ``_meta``)."""

    output: ToolOutput
    meta: Mapping[str, Any] = field(default_factory=dict)


class CallDesk(ABC):
    """Takes a call from its arguments to its answer. The direct call and discovery's ``run_tool`` both come here.

    Who may call what, and what is called, is the matter of the two steps that a kind of desk gives: ``admit`` and
    ``perform``.
    """

    def __init__(self, settings: Settings, limit: CallLimit, consent: ConsentGate) -> None:
        self.settings = settings
        self.consent = consent
        self._limit = limit

    @abstractmethod
    async def admit(self, call: Asked) -> tuple[Asked, Place]:
        """The call as this caller may make it, and where it would act. Raises ``ToolFailure`` for a refusal."""

    @abstractmethod
    async def perform(self, call: Asked, progress: Progress) -> Performed:
        """Run the card. Raises what the tools and the api layer raise."""

    async def not_offered(self, ctx: Context | None, params: t.CallToolRequestParams, name: str) -> None:  # noqa: B027
        """Hear of a call of a tool that is not there, or not for this caller; it is answered elsewhere."""

    def may_ask_about(self, card: Card) -> bool:
        """Whether a person may have to agree to a call of this card, by what is known before there is a call."""
        return self.consent.asks_about(card, card.risk, Place(real=True, address=""))

    def refuse_over_limit(self) -> t.CallToolResult | None:
        """The answer for a call above ``max_calls_per_minute``; None when it may go on."""
        wait = self._limit.take()
        if not wait:
            return None
        return failure(
            f"More than {self.settings.max_calls_per_minute} tool calls a minute are not allowed here. "
            f"Wait {wait:.1f} s before the next call.",
            "too_many_calls",
            retryable=True,
            retry_after_s=round(wait, 3),
        )

    async def run(
        self, ctx: Context | None, params: t.CallToolRequestParams, card: Card, arguments: dict[str, Any]
    ) -> CallAnswer:
        """The answer to one call of ``card``. Raises only ``MCPError``, and only for an unusable consent.

        Without ``ctx`` there is nobody to ask, and nobody who hears of progress.
        """
        call_id = request_id()
        started = time.monotonic()
        outcome = "unfinished"
        with structlog.contextvars.bound_contextvars(call=call_id, tool=card.name):
            try:
                outcome, answer = await self.outcome(ctx, params, card, arguments, call_id)
                return answer
            except MCPError as error:
                outcome = f"protocol_error {error.code}"
                raise
            finally:
                # A reading agent makes many calls, and what went well needs no line of the operator's log.
                say = log.debug if outcome == "ok" and card.risk == "read" else log.info
                say("tool_call", outcome=outcome, ms=round((time.monotonic() - started) * 1000))

    async def outcome(
        self, ctx: Context | None, params: t.CallToolRequestParams, card: Card, arguments: dict[str, Any], call_id: str
    ) -> tuple[str, CallAnswer]:
        """A word for the log, and the answer."""
        try:
            call = Asked(card, check(card, arguments), arguments)
        except ToolFailure as problem:
            return "invalid_arguments", failure(str(problem), "invalid_arguments", retryable=False)
        try:
            call, place = await self.admit(call)
            question = await self.consent.obtain(ctx, params, call, place)
            if question is not None:
                return "asked", question
            # Waiting for a person does not count; from here on Scale's time runs, and the api layer sees the deadline.
            with anyio.move_on_after(self.settings.call_timeout):
                done = await self.perform(call, no_progress if ctx is None else _forward_progress(ctx))
                return "ok", success(done.output, self.settings.max_result_chars, done.meta)
        except ToolFailure as problem:
            when = problem.retry_after
            return problem.code, failure(str(problem), problem.code, retryable=problem.retryable, retry_after_s=when)
        except ScaleError as error:
            return type(error).__name__, scale_failure(error)
        except MCPError:
            raise
        except Exception:
            log.exception("tool_call_crashed")
            return "crashed", unexpected(card.name, call_id)
        # Whatever ends in time has returned or raised above.
        reading = card.risk == "read"
        cure = "Try again, or ask for less at once." if reading else "It may have taken effect: look first."
        told = f"{card.name} was given up after {self.settings.call_timeout:g} s. {cure}"
        return "timeout", failure(told, "timeout", retryable=reading)


class OwnersDesk(CallDesk):
    """The desk of a server that one person runs with one key of theirs: whatever is offered may be called."""

    def __init__(self, connection: Connection, settings: Settings, limit: CallLimit) -> None:
        super().__init__(settings, limit, ConsentGate(settings.confirm, settings.confirm_risk))
        self._api = connection.api
        self._place = Place(connection.real, connection.api.base_url)

    async def admit(self, call: Asked) -> tuple[Asked, Place]:
        return call, self._place

    def may_ask_about(self, card: Card) -> bool:
        return self.consent.asks_about(card, card.risk, self._place)

    async def perform(self, call: Asked, progress: Progress) -> Performed:
        means = Call(
            api=self._api,
            progress=progress,
            upload_root=self.settings.upload_root,
            download_root=self.settings.download_root,
        )
        return Performed(await call.card.run(means, call.request))


def unexpected(name: str, call_id: str) -> t.CallToolResult:
    """The answer for a fault of our own: no word of the exception, but the id under which the log has it."""
    return failure(
        f"{name} failed unexpectedly. This is a fault of the server, not of the arguments; the operator finds it in "
        f"the log under {call_id}.",
        "internal_error",
        request_id=call_id,
        retryable=False,
    )


def unknown_tool(shown_name: str) -> MCPError:
    """The one answer for tools that do not exist and tools that are not offered."""
    return MCPError(code=t.INVALID_PARAMS, message=f"Unknown tool: {shown_name}")


def _forward_progress(ctx: Context) -> Progress:
    """Progress that only ever grows, as the protocol wants it; nothing is sent to a caller who did not ask."""
    highest = float("-inf")

    async def progress(done: float, total: float | None, message: str) -> None:
        nonlocal highest
        if done > highest:
            highest = done
            await ctx.session.report_progress(done, total, message)

    return progress
