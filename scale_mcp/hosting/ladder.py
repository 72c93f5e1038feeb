"""How a read is answered while Scale limits a connection, step by step, each seen in ``Served``.

    1. the same question is under way     wait for its answer                           coalesced
    2. a key is or was just limited       an answer of the last 5 seconds               cached
    3. a key is limited                   the next key of the connection (the api's)    key_changes
    4. all keys are limited               the last answer, if it is not too old         stale_seconds
    5. there is none                      a refusal with the wait                       Limited

An answer is given only to the persona that asked for it, as the persona was then, of the connection that it came from.
Once something was written through a connection, what was read before is neither joined nor called fresh.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, replace

import anyio

from scale_mcp.api import DeadlineExceeded, RateLimited, ScaleApi
from scale_mcp.api.trace import Trace, recording
from scale_mcp.hosting.accounts import Account
from scale_mcp.hosting.served import Limited, Served
from scale_mcp.tools.card import ToolOutput

FRESH_FOR = 5.0  # seconds that an answer may stand for a new one, under pressure
STALE_AFTER_ALL = 15 * 60.0  # seconds after which not even a marked answer is given
REMEMBERED = 500  # answers
UNTOLD_WAIT = 5.0  # seconds to tell where nobody knows

Ask = Callable[[ScaleApi], Awaitable[ToolOutput]]


@dataclass(frozen=True)
class _Answer:
    output: ToolOutput
    at: float
    writes: int  # of the account, when it was asked for


class _Flight:
    """A question under way. Who asked it tells the others what came of it, if anything did."""

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.served: Served | None = None
        self.failure: Exception | None = None


class ReadLadder:
    """The answers and questions of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: OrderedDict[Hashable, _Answer] = OrderedDict()
        self._flights: dict[Hashable, _Flight] = {}

    async def read(self, question: Hashable, account: Account, ask: Ask) -> Served:
        """The answer to a question, by the first step that has one.

        ``question`` is everything that the answer depends on, the persona and the connection included. Raises
        ``Limited``, and what ``ask`` raises.
        """
        while True:
            if (served := self._fresh(question, account)) is not None:
                return served
            under_way = (question, account.writes)
            flight = self._flights.get(under_way)
            if flight is None:
                return await self._fly(under_way, question, account, ask)
            await flight.over.wait()
            if flight.served is not None:
                return replace(flight.served, coalesced=True)
            if flight.failure is not None:
                raise _once_more(flight.failure)
            # Whoever asked has given up: somebody else asks.

    async def _fly(self, under_way: Hashable, question: Hashable, account: Account, ask: Ask) -> Served:
        flight = self._flights[under_way] = _Flight()
        try:
            flight.served = await self._asked(question, account, ask)
            return flight.served
        except DeadlineExceeded:
            raise  # the others may have more time
        except Exception as failure:
            flight.failure = failure
            raise
        finally:
            del self._flights[under_way]
            flight.over.set()

    async def _asked(self, question: Hashable, account: Account, ask: Ask) -> Served:
        writes = account.writes
        try:
            with recording() as trace:
                output = await ask(account.api)
        except RateLimited as limited:
            if (served := self._stale(question, account)) is not None:
                return served
            raise Limited((account.name,), wait_of(limited, account)) from None
        self._answers[question] = _Answer(output, self._clock(), writes)
        self._answers.move_to_end(question)
        self._forget()
        return Served(output, account.name, account.kind, key_changes=key_changes(trace))

    def _fresh(self, question: Hashable, account: Account) -> Served | None:
        if not account.under_pressure or (answer := self._answers.get(question)) is None:
            return None
        if answer.writes != account.writes or self._clock() - answer.at > FRESH_FOR:
            return None
        return Served(answer.output, account.name, account.kind, cached=True)

    def _stale(self, question: Hashable, account: Account) -> Served | None:
        if (answer := self._answers.get(question)) is None:
            return None
        age = self._clock() - answer.at
        return Served(answer.output, account.name, account.kind, stale_seconds=age) if age <= STALE_AFTER_ALL else None

    def _forget(self) -> None:
        """Drop what is too many or too old."""
        oldest = self._clock() - STALE_AFTER_ALL
        while self._answers:
            question = next(iter(self._answers))
            if len(self._answers) <= REMEMBERED and self._answers[question].at >= oldest:
                return
            del self._answers[question]


def _once_more(failure: Exception) -> Exception:
    """The same failure for another caller, without the first one's way through the code."""
    same = failure.__class__.__new__(failure.__class__)
    same.args = failure.args
    same.__dict__.update(failure.__dict__)
    return same


def key_changes(trace: Trace) -> int:
    return sum(exchange.key_changes for exchange in trace.exchanges)


def wait_of(limited: RateLimited, account: Account) -> float:
    """Seconds until trying again makes sense: what Scale said, or until the first key has rested."""
    if limited.retry_after is not None:
        return limited.retry_after
    keys = account.api.keys
    rests = [health.cools_for for health in keys.health()] if keys is not None else []
    return min(rests, default=0.0) or UNTOLD_WAIT
