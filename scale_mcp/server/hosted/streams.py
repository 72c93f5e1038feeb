"""Open streams, each with the token it was opened with: they end when the token does.

A call is checked when it comes. A stream stays open for hours, so it is looked at again: at once when it expires, and
whenever the store's revision shows that some persona or token was changed, in whichever replica.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

import anyio
from starlette.types import Message, Receive

from scale_mcp.hosting.clock import Clock, utc_now
from scale_mcp.hosting.sign_in import OWN_TOKENS, CannotTell, NotSignedIn, SignIn
from scale_mcp.server.hosted.visit import Visit
from scale_mcp.server.logs import get_logger

log = get_logger(__name__)

EVERY = 2.0  # seconds between two looks
LOGINS_EVERY = timedelta(minutes=1)  # how often a login's signature is checked again, in case its key was withdrawn
PATIENCE = timedelta(seconds=30)  # how long streams stay open while nobody can be looked up
LAST_WORDS = 2.0  # seconds in which a stream that is told to end may do so in order
MOST_STREAMS = 100  # of one principal


class TooMany(Exception):
    """This principal has as many open as one may have."""


class Stream:
    """One open stream. What serves it runs inside ``within``, and receives by ``receiving``."""

    def __init__(self, token: str, visit: Visit, now: datetime) -> None:
        self.token = token
        self.visit = visit
        self.confirmed = now
        self.checked = now
        self.within = anyio.CancelScope()
        self._ended = anyio.Event()

    @property
    def ended(self) -> bool:
        """Whether it was ended here, and not by its client."""
        return self._ended.is_set()

    def end(self, why: str) -> None:
        """Have it end as if its client had left, which closes everything in order; after a moment, by force."""
        if self.ended:
            return
        caller = self.visit.signed_in.caller
        log.info("stream_ended", why=why, persona=caller.persona.name, user=caller.user)
        self._ended.set()
        self.within.deadline = anyio.current_time() + LAST_WORDS

    def receiving(self, receive: Receive) -> Receive:
        """``receive``, which says that the client has left once the stream is to end."""

        async def receive_or_end() -> Message:
            message: Message = {"type": "http.disconnect"}
            async with anyio.create_task_group() as tasks:

                async def stop() -> None:
                    await self._ended.wait()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(stop)
                message = await receive()
                tasks.cancel_scope.cancel()
            return message

        return receive_or_end


class Streams:
    """All open streams of this process."""

    def __init__(
        self, sign_in: SignIn, clock: Clock = utc_now, *, every: float = EVERY, most: int = MOST_STREAMS
    ) -> None:
        self._sign_in = sign_in
        self._clock = clock
        self._every = every
        self._most = most
        self._open: set[Stream] = set()
        self._per_principal: Counter[tuple[str, str, str]] = Counter()

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def open(self, token: str, visit: Visit) -> Stream:
        """Keep a new stream in view until ``close``. Raises ``TooMany``."""
        principal = visit.signed_in.principal
        if self._per_principal[principal] >= self._most:
            raise TooMany
        now = self._clock()
        stream = Stream(token, visit, now)
        self._open.add(stream)
        self._per_principal[principal] += 1
        return stream

    def close(self, stream: Stream) -> None:
        self._open.discard(stream)
        principal = stream.visit.signed_in.principal
        self._per_principal[principal] -= 1
        if not self._per_principal[principal]:
            del self._per_principal[principal]

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await anyio.sleep(self._every)
            await self.look()

    async def look(self) -> None:
        """End the streams whose token is not good any more."""
        if not self._open:
            return
        now = self._clock()
        for stream in list(self._open):
            if (ends := stream.visit.signed_in.expires_at) is not None and now >= ends:
                stream.end("the token has expired")
        try:
            await self._confirm(await self._sign_in.revision(), now)
        except CannotTell as problem:
            self._give_up(now, str(problem))
        except Exception:  # whatever it is: streams must not stay open because looking at them fails
            log.exception("looking_at_streams_failed")
            self._give_up(now, "looking at streams failed")

    async def _confirm(self, revision: int, now: datetime) -> None:
        doubtful: dict[str, list[Stream]] = {}
        for stream in self._open:
            signed_in = stream.visit.signed_in
            outdated = signed_in.caller.revision != revision
            if outdated or (signed_in.issuer != OWN_TOKENS and now - stream.checked >= LOGINS_EVERY):
                doubtful.setdefault(stream.token, []).append(stream)
            else:
                stream.confirmed = now
        for token, streams in doubtful.items():
            await self._check(token, streams, now)

    async def _check(self, token: str, streams: Iterable[Stream], now: datetime) -> None:
        try:
            signed_in = await self._sign_in.verify(token)
        except NotSignedIn as refusal:
            for stream in streams:
                stream.end(str(refusal))
            return
        for stream in streams:
            if signed_in.principal != stream.visit.signed_in.principal:
                stream.end("the token is somebody else's now")
            else:
                stream.visit.signed_in = signed_in
                stream.confirmed = stream.checked = now

    def _give_up(self, now: datetime, why: str) -> None:
        for stream in list(self._open):
            if now - stream.confirmed >= PATIENCE:
                stream.end(why)
