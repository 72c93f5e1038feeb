"""What a call did on the wire, for whoever wants to log it: methods, templates, statuses and request ids only.

    with recording() as trace:
        await api.tasks.get(task_id)
    trace.exchanges[-1].statuses   # [503, 200]

Paths appear as templates and queries not at all, so a trace holds nothing that a customer typed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import pairwise

KEPT = 64  # exchanges of one recording; a long listing keeps the last ones


@dataclass(slots=True)
class Exchange:
    """One logical request with all its attempts. A status is None where no answer came."""

    method: str
    template: str
    statuses: list[int | None] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)
    seconds: float = 0.0
    keys: list[str] | None = None  # of a pool: the name of the key of each attempt
    waited: float = 0.0  # of a pool: seconds in which all keys rested
    began: float = 0.0  # by time.perf_counter
    host: str = ""

    @property
    def attempts(self) -> int:
        return len(self.statuses)

    @property
    def key_changes(self) -> int:
        """How often an attempt went on with another key than the one before."""
        keys = self.keys or []
        return sum(before != after for before, after in pairwise(keys))


@dataclass
class Trace:
    """The last exchanges of one recording, and how many requests were sent in all."""

    exchanges: deque[Exchange] = field(default_factory=lambda: deque(maxlen=KEPT))
    requests: int = 0
    outer: Trace | None = None  # a recording that this one is within; it records the same

    @property
    def retries(self) -> int:
        return sum(max(0, exchange.attempts - 1) for exchange in self.exchanges)

    @property
    def last_request_id(self) -> str | None:
        return next((exchange.request_ids[-1] for exchange in reversed(self.exchanges) if exchange.request_ids), None)


_current: ContextVar[Trace | None] = ContextVar("scale_api_trace", default=None)


@contextmanager
def recording(kept: int | None = KEPT) -> Iterator[Trace]:
    """Record the requests of this task and of the tasks it starts. One recording may be within another.

    ``kept`` is the most exchanges that the trace holds, None for all of them.
    """
    trace = Trace(deque(maxlen=kept), outer=_current.get())
    token = _current.set(trace)
    try:
        yield trace
    finally:
        _current.reset(token)


def begin(method: str, template: str) -> Exchange:
    """A new exchange, kept when somebody records."""
    exchange = Exchange(method, template)
    trace = _current.get()
    while trace is not None:
        trace.exchanges.append(exchange)
        trace = trace.outer
    return exchange


def note(exchange: Exchange, status: int | None, request_id: str | None) -> None:
    """One more attempt of an exchange."""
    exchange.statuses.append(status)
    if request_id:
        exchange.request_ids.append(request_id)
    trace = _current.get()
    while trace is not None:
        trace.requests += 1
        trace = trace.outer
