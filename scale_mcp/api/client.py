"""The one path that every request takes: build → limit → send → retry → decode → raise."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.lowlevel

from scale_mcp.api import trace
from scale_mcp.api.answers import REDIRECTS, Answer, decoded, error_of, redirect_target
from scale_mcp.api.connection import Connection
from scale_mcp.api.errors import DeadlineExceeded, OutcomeUnknown, RateLimited, ScaleError, UnexpectedAnswer
from scale_mcp.api.limits import Limiter
from scale_mcp.api.operation import Operation
from scale_mcp.api.options import ApiOptions
from scale_mcp.api.retry import Repeat, pause_before_retry
from scale_mcp.api.time_limit import until
from scale_mcp.api.turns import OnlyTurn, Turn
from scale_mcp.api.wire import Plain, Wire

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

MAX_REDIRECTS = 5
REDIRECTED = "The API address redirected the request, which this API does not do."


class Client:
    """Sends operations over one connection."""

    def __init__(
        self, connection: Connection, transport: httpx2.AsyncBaseTransport | None, options: ApiOptions
    ) -> None:
        self.connection = connection
        self.options = options
        self.limiter = Limiter(options.max_in_flight, options.requests_per_second, options.sleep)
        self.wire = Wire(connection, transport, options)

    async def call(self, operation: Operation, decode: Callable[[Any], T]) -> T:
        """Send an operation until it succeeds, must not be repeated, or the time is over.

        Raises the ScaleError that came last. Its ``in_doubt`` says whether any of the attempts may have taken effect;
        for an operation that is sent once only, such doubt becomes OutcomeUnknown.
        """
        deadline = self.deadline(operation)
        exchange = trace.begin(operation.method, operation.template)
        began = exchange.began = time.perf_counter()
        exchange.host = self.connection.host
        attempt, rate_limited, doubt, pending = 0, 0, False, False
        while True:
            attempt += 1
            request = self.wire.prepare(operation)
            try:
                answer = await self._limited(request, deadline, exchange)
                return self._decoded(operation, answer, decode)
            except ScaleError as error:
                failure = error
            finally:
                exchange.seconds = time.perf_counter() - began
            if operation.method != "GET":
                doubt = doubt or failure.in_doubt
                pending = pending or failure.may_still_happen
            rate_limited += isinstance(failure, RateLimited)
            pause = self.pause(failure, attempt, rate_limited)
            if doubt and operation.repeat is Repeat.ONCE:
                pause = None
            if pause is None or anyio.current_time() + pause >= deadline:
                failure.in_doubt, failure.may_still_happen = doubt, pending
                raise self._final(operation, failure, attempt)
            await self.options.sleep(pause)

    def pause(self, failure: ScaleError, attempt: int, rate_limited: int) -> float | None:
        """Seconds until the next attempt, or None to give up (see ``pause_before_retry``)."""
        return pause_before_retry(failure, attempt, self.options, rate_limited=rate_limited)

    def turn(self, deadline: float, exchange: trace.Exchange) -> AbstractAsyncContextManager[Turn]:
        """One attempt's turn, as a context. For the long ways; a call's own is written out in ``_limited``."""
        return OnlyTurn(self.wire, self.limiter)

    def deadline(self, operation: Operation) -> float:
        """When attempts must end: a little before the caller's deadline, so that our error still reaches the caller.

        What may have to be looked up afterwards ends earlier still, so that there is time left for that.
        """
        now = anyio.current_time()
        own = self.options.transfer_timeout if operation.stream is not None else self.options.call_timeout
        left = anyio.current_effective_deadline() - now
        if left <= 0 or math.isinf(left):
            return now + own
        reserve = min(5.0, 0.3 * left) if operation.repeat is Repeat.RECOVER else min(0.25, 0.1 * left)
        return now + min(own, left - reserve)

    async def _limited(self, request: httpx2.Request | Plain, deadline: float, exchange: trace.Exchange) -> Answer:
        """One attempt in its turn, within the time."""
        sent = False
        limit = until(deadline)
        try:
            async with limit, self.limiter.slot() as sent_in_round:
                sent = True
                answer = await self._sent(self.wire, request, exchange)
                self.limiter.answered(answer.status, sent_in_round)
                return answer
        except TimeoutError:
            if not limit.expired():
                raise
            await anyio.lowlevel.checkpoint_if_cancelled()  # a caller that gave up in the same moment comes first
        raise DeadlineExceeded("The time for this call was over before Scale answered.", in_doubt=sent)

    async def _sent(self, wire: Wire, request: httpx2.Request | Plain, exchange: trace.Exchange) -> Answer:
        """One attempt, with the redirects of a read that lead back to our own origin."""
        if isinstance(request, Plain):
            answer = await wire.exchange(request, exchange)
            if answer.status not in REDIRECTS:
                return answer
            if request.method != "GET":
                raise UnexpectedAnswer(REDIRECTED, in_doubt=True)
            request = wire.get(request.address.url)  # asked once more, to follow it the long way
        for _ in range(MAX_REDIRECTS + 1):
            response = await wire.send(request, exchange)
            try:
                target = redirect_target(response)
                if target is None:
                    return await wire.read(response)
            finally:
                await wire.close(response)
            if request.method != "GET" or not self.connection.owns(target):
                break
            request = wire.get(target)
        raise UnexpectedAnswer(REDIRECTED, in_doubt=True)

    def _decoded(self, operation: Operation, answer: Answer, decode: Callable[[Any], T]) -> T:
        if 200 <= answer.status < 300:
            clean = self.connection.scrub_bytes(answer.content)
            answer = answer if clean is answer.content else replace(answer, content=clean)
            return decoded(answer, decode, plain=operation.plain_answer)
        raise error_of(answer, self.connection.scrub)

    def _final(self, operation: Operation, failure: ScaleError, attempts: int) -> ScaleError:
        """The error to raise: the last one, or OutcomeUnknown for what may have happened and is not repeated."""
        if attempts > 1:
            failure.message += f" Tried {attempts} times."
        if not failure.in_doubt or operation.repeat is not Repeat.ONCE:
            return failure
        return OutcomeUnknown(
            f"It is not known whether this took effect: {failure.message}",
            status=failure.status,
            scale_message=failure.scale_message,
            next_step=f"It was not repeated, as that might do it twice. To find out, {operation.find_out}",
            request_id=failure.request_id,
            in_doubt=True,
        )

    async def aclose(self) -> None:
        await self.wire.aclose()
