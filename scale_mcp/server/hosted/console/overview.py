"""The first page: is everything well, and what happens."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scale_mcp.hosting.audit.checks import AuditChecks
from scale_mcp.hosting.audit.search import Query, Trail
from scale_mcp.hosting.health import StoredHealth, read_health
from scale_mcp.server.hosted.console.calls import lines_of
from scale_mcp.server.hosted.console.frame import HOME, Frame
from scale_mcp.server.hosted.console.sessions import SignedIn
from scale_mcp.server.hosted.console.states import State, of_connection, of_key

if TYPE_CHECKING:
    from scale_mcp.hosting.connection_records import ConnectionRecord, KeyRecord

HOUR = timedelta(hours=1)
LATEST = 8


@dataclass(frozen=True)
class KeyLine:
    """A key and how it fares. Counts are of answers since the processes began that wrote them."""

    record: KeyRecord
    state: State
    ok: int
    limited: int
    failed: int


@dataclass(frozen=True)
class ConnectionLine:
    record: ConnectionRecord
    state: State
    keys: list[KeyLine]


def routes(frame: Frame) -> list[Route]:
    async def overview(request: Request, signed_in: SignedIn) -> Response:
        outcomes = await frame.overview.outcomes(HOUR)
        running, checked = await AuditChecks(frame.house.database, frame.house.recorder, frame.clock).last()
        latest = await Trail(frame.house.database).calls(Query(), limit=LATEST)
        return await frame.shown(
            "overview.html",
            signed_in,
            connections=await connection_lines(frame),
            calls_ok=outcomes.get("ok", 0),
            calls_else={outcome: count for outcome, count in outcomes.items() if outcome != "ok"},
            personas=await frame.overview.personas(),
            events=await frame.overview.events(timedelta(days=1)),
            running=running,
            checked=checked,
            lines=lines_of(latest),
        )

    return [Route(HOME, frame.page(overview), methods=["GET"])]


async def connection_lines(frame: Frame) -> list[ConnectionLine]:
    """All connections with their active keys, by name."""
    health: dict[str, list[StoredHealth]] = defaultdict(list)
    for row in await read_health(frame.house.database):
        health[row.key_id].append(row)
    now = frame.clock()
    lines = []
    for record in await frame.house.connections.list():
        keys = [_key_line(key, health[key.id], now) for key in record.active_keys]
        lines.append(ConnectionLine(record, of_connection(record, [key.state for key in keys]), keys))
    return lines


def _key_line(key: KeyRecord, health: list[StoredHealth], now: datetime) -> KeyLine:
    return KeyLine(
        key,
        of_key(key, health, now),
        ok=sum(row.ok for row in health),
        limited=sum(row.limited for row in health),
        failed=sum(row.failed for row in health),
    )
