"""Telling clients what happened to the tasks, batches and projects that they watch, and may see.

From 2026-07-28 on a client keeps a ``subscriptions/listen`` request open; before that it subscribes to single
resources, and hears of them on its session. Either way it is asked at each event whether the persona, as it is then,
may know.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

import anyio
import mcp.types as t
from mcp import MCPError
from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import ListenHandler, ResourceUpdated, ServerEvent

from scale_mcp.server.guard import Context, guarded
from scale_mcp.server.hosted.visit import Visit, visit_of_this_request
from scale_mcp.server.logs import get_logger
from scale_mcp.tools.feed import Event

if TYPE_CHECKING:
    from scale_mcp.hosting.house import House

log = get_logger(__name__)

MOST_WATCHED = 200  # resources that one session or stream may watch
LONGEST_ADDRESS = 2_000  # characters; no resource of ours has a longer one
WAITING = 1_000  # news that may wait to be sent to sessions; what comes on top is dropped, as the protocol allows


def addresses_of(event: Event) -> Iterator[str]:
    """The resources that an event changed."""
    if event.task_id:
        yield f"scale://task/{quote(event.task_id, safe='')}"
    if event.batch:
        yield f"scale://batch/{quote(event.batch, safe='')}"
    if event.project:
        yield f"scale://project/{quote(event.project, safe='')}"


class _NewsFor:
    """What the SDK's handler of one stream listens to: the events that the stream's caller may see."""

    def __init__(self, house: House, visit: Visit) -> None:
        self._house = house
        self._visit = visit  # the gate keeps it up to date while the stream is open

    async def publish(self, event: ServerEvent) -> None:
        """Nobody publishes here: events come from the house's bus."""

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        def hear(event: Event) -> None:
            if self._house.events_of(self._visit.signed_in.caller.persona).sees(event):
                for address in addresses_of(event):
                    listener(ResourceUpdated(uri=address))

        return self._house.bus.subscribe(hear)


def listening(house: House) -> Callable[[Context, t.SubscriptionsListenRequestParams], Awaitable[Any]]:
    """Serves ``subscriptions/listen``: each stream hears what its own caller may see."""

    async def listen(ctx: Context, params: t.SubscriptionsListenRequestParams) -> Any:
        _check(params.notifications.resource_subscriptions or ())
        return await ListenHandler(_NewsFor(house, visit_of_this_request()))(ctx, params)

    return listen


class SessionWatches:
    """Serves ``resources/subscribe`` and ``resources/unsubscribe`` of sessions."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._watched: WeakKeyDictionary[Connection, tuple[Visit, set[str]]] = WeakKeyDictionary()
        self._send, self._receive = anyio.create_memory_object_stream[tuple[Event, tuple[str, ...]]](WAITING)

    def __len__(self) -> int:
        """How many sessions watch something, or did."""
        return len(self._watched)

    def mount(self, server: Server[Any]) -> None:
        server.add_request_handler("resources/subscribe", t.SubscribeRequestParams, guarded(self.subscribe))
        server.add_request_handler("resources/unsubscribe", t.UnsubscribeRequestParams, guarded(self.unsubscribe))

    async def subscribe(self, ctx: Context, params: t.SubscribeRequestParams) -> t.EmptyResult:
        """Any address may be watched: whether there is such a resource is not told by this."""
        _, addresses = self._watched.setdefault(_connection_of(ctx), (visit_of_this_request(), set()))
        _check({*addresses, str(params.uri)})
        addresses.add(str(params.uri))
        return t.EmptyResult()

    async def unsubscribe(self, ctx: Context, params: t.UnsubscribeRequestParams) -> t.EmptyResult:
        _, addresses = self._watched.get(_connection_of(ctx), (None, set[str]()))
        addresses.discard(str(params.uri))
        return t.EmptyResult()

    async def run(self) -> None:
        """Send what sessions watch, for good."""
        stop = self._house.bus.subscribe(self._hear)
        try:
            with self._send, self._receive:
                async for event, changed in self._receive:
                    for connection, (visit, addresses) in list(self._watched.items()):
                        for address in addresses.intersection(changed):
                            await self._tell(connection, visit, event, address)
        finally:
            stop()

    def _hear(self, event: Event) -> None:
        changed = tuple(addresses_of(event))
        if any(addresses.intersection(changed) for _, addresses in self._watched.values()):
            try:
                self._send.send_nowait((event, changed))
            except anyio.WouldBlock:
                log.warning("watched_news_dropped", position=event.position)

    async def _tell(self, connection: Connection, visit: Visit, event: Event, address: str) -> None:
        now = await self._house.directory.enabled(visit.signed_in.caller.persona.id)
        if now is None:
            self._watched.pop(connection, None)
        elif self._house.events_of(now).sees(event):
            try:
                await connection.send_resource_updated(address)
            except Exception as problem:  # a session that has ended, in one of several ways
                log.info("watching_session_gone", problem=type(problem).__name__)
                self._watched.pop(connection, None)


def _check(addresses: Collection[str]) -> None:
    """Refuse what would be kept for long and is more than anybody needs."""
    if len(addresses) > MOST_WATCHED:
        raise MCPError(code=t.INVALID_PARAMS, message=f"No more than {MOST_WATCHED} resources can be watched at once.")
    if any(len(address) > LONGEST_ADDRESS for address in addresses):
        raise MCPError(
            code=t.INVALID_PARAMS, message=f"The address of a resource has {LONGEST_ADDRESS} characters at most."
        )


def _connection_of(ctx: Context) -> Connection:
    """What lives as long as the client's session; a ``ServerSession`` is made for each request."""
    connection: Connection = ctx.session._connection
    return connection
