"""The request path over several keys of one account."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import anyio.lowlevel

from scale_mcp.api import trace
from scale_mcp.api.answers import Answer
from scale_mcp.api.client import Client
from scale_mcp.api.errors import DeadlineExceeded, RateLimited, ScaleError, Unauthorized
from scale_mcp.api.key_pool import AllKeysResting, KeyPool
from scale_mcp.api.operation import Operation
from scale_mcp.api.retry import pause_before_retry
from scale_mcp.api.time_limit import until
from scale_mcp.api.turns import Turn
from scale_mcp.api.wire import Plain

if TYPE_CHECKING:
    import httpx2


class PooledClient(Client):
    """Sends each attempt with the key that has most room.

    A 429 or 401 says that nothing was done, so the same operation, a create too, goes on at once with another key.
    """

    def __init__(self, pool: KeyPool) -> None:
        self.connection = pool.connection
        self.options = pool.options
        self.wire = pool.wire
        self.pool = pool

    def pause(self, failure: ScaleError, attempt: int, rate_limited: int) -> float | None:
        if isinstance(failure, AllKeysResting):
            return None
        if isinstance(failure, RateLimited):
            # The key rests by itself; where all do, the next turn waits for them.
            return 0.0 if rate_limited < self.options.rate_limited_attempts else None
        if isinstance(failure, Unauthorized):
            return 0.0 if self.pool.has_accepted else None
        return pause_before_retry(failure, attempt, self.options, rate_limited=rate_limited)

    def _final(self, operation: Operation, failure: ScaleError, attempts: int) -> ScaleError:
        unsent = isinstance(failure, AllKeysResting)
        return super()._final(operation, failure, attempts - 1 if unsent else attempts)

    def turn(self, deadline: float, exchange: trace.Exchange) -> AbstractAsyncContextManager[Turn]:
        return self.pool.turn(deadline, exchange)

    async def _limited(self, request: httpx2.Request | Plain, deadline: float, exchange: trace.Exchange) -> Answer:
        sent = False
        limit = until(deadline)
        try:
            async with limit, self.pool.turn(deadline, exchange) as turn:
                sent = True
                answer = await self._sent(turn.wire, request, exchange)
                turn.answered(answer.status, answer.retry_after)
                return answer
        except TimeoutError:
            if not limit.expired():
                raise
            await anyio.lowlevel.checkpoint_if_cancelled()  # a caller that gave up in the same moment comes first
        raise DeadlineExceeded("The time for this call was over before Scale answered.", in_doubt=sent)
