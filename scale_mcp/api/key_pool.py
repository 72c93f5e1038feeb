"""Several keys of one account: every attempt takes the key with the most room, and a key that was limited rests.

How long it rests is a matter of key_lane.py. A new key is used at once; a retired one ends what it has begun.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

import anyio

from scale_mcp.api.connection import Connection
from scale_mcp.api.errors import RateLimited, RefusedBeforeSending, ScaleError
from scale_mcp.api.key_lane import KeyHealth, Lane
from scale_mcp.api.options import ApiOptions
from scale_mcp.api.trace import Exchange
from scale_mcp.api.wire import Wire

if TYPE_CHECKING:
    import httpx2
    from pydantic import SecretStr

CONNECTIONS_FOR = 4  # keys' worth of connections in the network that they share


class AllKeysResting(RateLimited):
    """Every key of the account was limited, and waiting for the first of them would take too long. Nothing was sent."""


class KeyPool:
    """The keys of one account and mode. They share one network; keys come and go while requests run."""

    def __init__(
        self,
        keys: Mapping[str, SecretStr | str],
        base_url: str,
        transport: httpx2.AsyncBaseTransport | None,
        options: ApiOptions,
    ) -> None:
        if not keys:
            raise RefusedBeforeSending("There is no API key.", next_step="Give at least one.")
        self.options = options
        self._all: list[Connection] = []  # of keys that were retired, too: nothing of them shall be shown either
        self._lanes: dict[str, Lane] = {}
        self._waiting: deque[_Waiting] = deque()
        self._turns = 0
        self.answers: Counter[str] = Counter()  # of all keys, gone ones too: 2xx, …, 429 beside 4xx, and none
        self.retries = 0
        self.connection = _OneOfSeveral(next(iter(keys.values())), base_url, self._all)
        shared = replace(options, max_in_flight=CONNECTIONS_FOR * options.max_in_flight)
        self.wire = Wire(self.connection, transport, shared)
        for name, key in keys.items():
            self.add(name, key)

    def add(self, name: str, key: SecretStr | str) -> None:
        """Use a further key of the account from now on. A name that is known keeps its key.

        Raises RefusedBeforeSending for what cannot be a key, and for a live key among test keys or the reverse.
        """
        if name in self._lanes:
            return
        connection = _OneOfSeveral(key, self.connection.base_url, self._all)
        if connection.mode != self.connection.mode:
            raise RefusedBeforeSending(
                f"A {connection.mode} key cannot join {self.connection.mode} keys: they see separate worlds.",
                next_step=f"Give a {self.connection.mode} key of the same account.",
            )
        self._all.append(connection)
        self._lanes[name] = Lane(name, connection, self)
        self.wake()

    def retire(self, name: str) -> None:
        """Send nothing more with a key. What is on its way with it comes to its end."""
        if (lane := self._lanes.pop(name, None)) is not None:
            lane.retired = True
            self.stir()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._lanes)

    def health(self) -> list[KeyHealth]:
        """How each key fares, in the order in which they were added."""
        now = self.options.clock()
        return [lane.health(now) for lane in self._lanes.values()]

    @property
    def under_pressure(self) -> bool:
        """Whether a key was limited, and has not been fine again since."""
        return any(lane.probation and not lane.refused for lane in self._lanes.values())

    def is_alone(self, lane: Lane) -> bool:
        """Whether no other key could do this one's work."""
        return all(other is lane or other.refused for other in self._lanes.values())

    def may_go(self, lane: Lane) -> bool:
        """Whether a key that was free a while ago may still be used."""
        resting = lane.rests_until > self.options.clock()
        return not lane.retired and (not resting or (lane.refused and not self.has_accepted))

    @property
    def has_accepted(self) -> bool:
        """Whether there is a key that Scale has not refused."""
        return any(not lane.refused for lane in self._lanes.values())

    def turn(self, deadline: float, exchange: Exchange) -> KeyTurn:
        """One attempt's turn with one of the keys, as a context; raises AllKeysResting when it would come too late."""
        return KeyTurn(self, deadline, exchange)

    async def take(self, deadline: float, exchange: Exchange) -> Lane:
        """A key with a place in flight, to be left afterwards. First come, first served."""
        lane = None if self._waiting else self._free()
        if lane is None:
            return await self._wait(deadline, exchange)
        self._enter(lane)
        return lane

    def wake(self) -> None:
        """Hand free places to those who wait."""
        while self._waiting and (lane := self._free()) is not None:
            self._enter(lane)
            waiting = self._waiting.popleft()
            waiting.lane = lane
            waiting.event.set()

    def stir(self) -> None:
        """Let those who wait look again what they are waiting for: keys came, went, or went to rest."""
        for waiting in self._waiting:
            waiting.event.set()

    def _enter(self, lane: Lane) -> None:
        self._turns += 1
        lane.last_turn = self._turns
        lane.places += 1

    def _usable(self) -> list[Lane]:
        """All keys but those that Scale refused lately, unless it refused all."""
        now = self.options.clock()
        lanes = list(self._lanes.values())
        return [lane for lane in lanes if not (lane.refused and lane.rests_until > now)] or lanes

    def _free(self) -> Lane | None:
        """The key with the most room, of equal ones the one that has not been used for longest."""
        if len(self._lanes) == 1:
            (only,) = self._lanes.values()
            return only if only.has_room(self.options.clock()) or self._is_last_resort(only) else None
        now = self.options.clock()
        free = [lane for lane in self._usable() if lane.has_room(now) or self._is_last_resort(lane)]
        return min(free, key=lambda lane: (lane.load, lane.last_turn), default=None)

    def _is_last_resort(self, lane: Lane) -> bool:
        """Whether a refused key is all there is: then Scale is asked again, and its refusal is the caller's answer."""
        return lane.refused and not self.has_accepted and lane.places < lane.limiter.allowed

    async def _wait(self, deadline: float, exchange: Exchange) -> Lane:
        waiting = _Waiting()
        self._waiting.append(waiting)
        try:
            while True:
                waiting.event = anyio.Event()
                self.wake()
                if waiting.lane is not None:
                    return waiting.lane
                if not self._lanes:
                    raise RefusedBeforeSending("No key of this account is left.", next_step="Add a key.")
                await self._change(waiting.event, deadline, exchange)
        except BaseException:
            if waiting.lane is not None:  # given a place at the moment of giving up: pass it on
                waiting.lane.leave()
            else:
                self._waiting.remove(waiting)
            raise

    async def _change(self, changed: anyio.Event, deadline: float, exchange: Exchange) -> None:
        """Wait until a key has a place again, has rested, comes or goes."""
        now, usable = self.options.clock(), self._usable()
        resting = [lane for lane in usable if lane.rests_until > now and not self._is_last_resort(lane)]
        if not resting:
            await changed.wait()
            return
        first = min(resting, key=lambda lane: lane.rests_until)
        until, seconds = first.rests_until, first.rests_for(now)
        all_rest = len(resting) == len(usable)
        patience = min(self.options.max_retry_after - exchange.waited, deadline - anyio.current_time())
        if all_rest and seconds >= patience:
            raise _all_resting(len(self._lanes), seconds)

        async def sleep() -> None:
            await self.options.sleep(seconds)
            first.rested(until)
            changed.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sleep)
            await changed.wait()
            tasks.cancel_scope.cancel()
        if all_rest:
            exchange.waited += self.options.clock() - now


def _all_resting(keys: int, seconds: float) -> AllKeysResting:
    which = f"all {keys} keys" if keys > 1 else "the key"
    return AllKeysResting(
        f"Scale limits the rate of this account, and {which} of it must rest.",
        status=429,
        retryable=True,
        retry_after=seconds,
        next_step=f"Wait {max(1.0, seconds):.0f} s, then try again.",
    )


class _Waiting:
    __slots__ = ("event", "lane")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.lane: Lane | None = None


class KeyTurn:
    """One attempt's turn: with which key, and what came of it. Without a word of an answer, it counts as failed."""

    __slots__ = ("_answered", "_deadline", "_exchange", "_pool", "_rests", "_round", "lane")

    lane: Lane

    def __init__(self, pool: KeyPool, deadline: float, exchange: Exchange) -> None:
        self._pool = pool
        self._deadline = deadline
        self._exchange = exchange
        self._answered = False

    @property
    def wire(self) -> Wire:
        return self.lane.wire

    def answered(self, status: int, retry_after: float | None) -> None:
        self._answered = True
        self._pool.answers["429" if status == 429 else f"{status // 100}xx"] += 1
        self.lane.limiter.answered(status, self._round)
        self.lane.answered(status, retry_after, self._rests)

    async def __aenter__(self) -> KeyTurn:
        while True:
            lane = await self._pool.take(self._deadline, self._exchange)
            try:
                self._round = await lane.limiter.take()  # waits where there is a pace to keep
            except BaseException:
                lane.leave()
                raise
            if self._pool.may_go(lane):
                break
            lane.limiter.give_back()
            lane.leave()
        self.lane, self._rests = lane, lane.rests
        self._pool.retries += bool(self._exchange.keys)
        self._exchange.keys = [*(self._exchange.keys or ()), lane.name]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._answered and not isinstance(error, RefusedBeforeSending):
            self._pool.answers["none"] += 1
            if isinstance(error, ScaleError):
                self.lane.answered(None, None, self._rests)
        self.lane.limiter.give_back()
        self.lane.leave()


class _OneOfSeveral(Connection):
    """One key's connection that shows none of the others either."""

    def __init__(self, key: SecretStr | str, base_url: str, siblings: list[Connection]) -> None:
        super().__init__(key, base_url)
        self._siblings = siblings

    def scrub(self, text: str) -> str:
        for sibling in self._siblings:
            text = Connection.scrub(sibling, text)
        return text

    def scrub_bytes(self, content: bytes) -> bytes:
        for sibling in self._siblings:
            content = Connection.scrub_bytes(sibling, content)
        return content
