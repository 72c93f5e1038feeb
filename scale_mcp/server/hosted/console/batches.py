"""Batches in progress, read from Scale with each connection's own keys: seldom, a page at a time, and with patience."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import anyio
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scale_mcp.api.errors import ScaleError
from scale_mcp.hosting.clock import Clock, moment, stamp
from scale_mcp.models.batches import Batch, BatchFilter
from scale_mcp.server.hosted.console.frame import HOME, Frame, Refused
from scale_mcp.server.hosted.console.sessions import SignedIn
from scale_mcp.server.logs import get_logger
from scale_mcp.tools.card import ToolFailure

if TYPE_CHECKING:
    from scale_mcp.hosting.accounts import Accounts

log = get_logger(__name__)

PAGE = 20
LASTS = 30.0  # seconds that what was read is shown again
PATIENCE = 8.0  # seconds that Scale may take
AT_ONCE = 6  # connections that one page reads
REMEMBERED = 200  # readings
IN_PROGRESS = BatchFilter(status="in_progress", detailed=True)


@dataclass(frozen=True)
class BatchLine:
    name: str
    project: str
    created_at: str
    done: int | None  # None: Scale did not say how far it is
    total: int
    errors: int
    canceled: int


@dataclass(frozen=True)
class Reading:
    """A page of a connection's batches, or why there is none."""

    read_at: str
    lines: tuple[BatchLine, ...] = ()
    total: int | None = None
    more: bool = False
    problem: str | None = None


class BatchBook:
    """Reads pages of batches, each at most once in 30 s for all who look."""

    def __init__(self, accounts: Accounts, clock: Clock) -> None:
        self._accounts = accounts
        self._clock = clock
        self._readings: OrderedDict[tuple[str, int], Reading] = OrderedDict()
        self._reading: dict[tuple[str, int], anyio.Lock] = {}

    async def page(self, connection: str, offset: int) -> Reading:
        place = (connection, offset)
        lock = self._reading.setdefault(place, anyio.Lock())
        try:
            async with lock:
                found = self._readings.get(place)
                if found is None or (self._clock() - moment(found.read_at)).total_seconds() >= LASTS:
                    found = self._readings[place] = await self._read(connection, offset)
                    self._readings.move_to_end(place)
                    if len(self._readings) > REMEMBERED:
                        self._readings.popitem(last=False)
                return found
        finally:
            if not lock.locked():  # nobody waits for it any more
                self._reading.pop(place, None)

    async def _read(self, connection: str, offset: int) -> Reading:
        now = stamp(self._clock())
        try:
            with anyio.fail_after(PATIENCE):
                account = await self._accounts.named(connection)
                if account is None:
                    return Reading(now, problem="The connection is not there any more.")
                found = await account.api.batches.page(IN_PROGRESS, offset, PAGE)
        except TimeoutError:
            return Reading(now, problem=f"Scale did not answer within {PATIENCE:.0f} seconds.")
        except ScaleError as problem:
            return Reading(now, problem=problem.message)  # what to do next is said to agents
        except ToolFailure as problem:
            return Reading(now, problem=str(problem))
        except (SQLAlchemyError, OSError):
            log.exception("console_batches_not_read", connection=connection)
            return Reading(now, problem="The connection could not be looked up in the database.")
        return Reading(now, tuple(_line(batch) for batch in found.docs), found.total, found.has_more)


def routes(frame: Frame) -> list[Route]:
    house = frame.house
    book = BatchBook(house.accounts, frame.clock)

    async def batches(request: Request, signed_in: SignedIn) -> Response:
        names = list(await house.accounts.kinds())
        found: dict[str, Reading] = {}

        async def read(name: str) -> None:
            found[name] = await book.page(name, 0)

        async with anyio.create_task_group() as tasks:
            for name in names[:AT_ONCE]:
                tasks.start_soon(read, name)
        return await frame.shown(
            "batches.html",
            signed_in,
            readings=[(name, found[name], 0) for name in names[:AT_ONCE]],
            others=names[AT_ONCE:],
            page_size=PAGE,
            single=False,
        )

    async def of_connection(request: Request, signed_in: SignedIn) -> Response:
        name = request.path_params["connection"]
        if name not in await house.accounts.kinds():
            raise Refused(HTTPStatus.NOT_FOUND, "There is no such connection.")
        offset = _offset(request.query_params.get("offset"))
        readings = [(name, await book.page(name, offset), offset)]
        return await frame.shown("batches.html", signed_in, readings=readings, others=[], page_size=PAGE, single=True)

    return [
        Route(f"{HOME}/batches", frame.page(batches), methods=["GET"]),
        Route(f"{HOME}/batches/{{connection}}", frame.page(of_connection), methods=["GET"]),
    ]


def _line(batch: Batch) -> BatchLine:
    counts = (batch.pending, batch.completed, batch.error, batch.canceled)
    pending, completed, errors, canceled = (count or 0 for count in counts)
    known = any(count is not None for count in counts)
    return BatchLine(
        batch.name,
        batch.project or "",
        batch.created_at or "",
        done=completed + errors + canceled if known else None,
        total=pending + completed + errors + canceled,
        errors=errors,
        canceled=canceled,
    )


def _offset(text: str | None) -> int:
    """Where a page begins: at a whole page, so that what is read once serves everybody."""
    found = int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 7 else 0
    return found // PAGE * PAGE
