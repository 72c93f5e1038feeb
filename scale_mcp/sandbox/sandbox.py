"""The sandbox as one object: opens the store, wires the areas together, and keeps time."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from scale_mcp.sandbox import routes, schema
from scale_mcp.sandbox.accounts import Account
from scale_mcp.sandbox.agenda import Agenda
from scale_mcp.sandbox.app import App
from scale_mcp.sandbox.attachments import Attachments
from scale_mcp.sandbox.batches import Batches
from scale_mcp.sandbox.clock import Clock, ClockKind
from scale_mcp.sandbox.deliveries import Deliveries
from scale_mcp.sandbox.engine import Engine
from scale_mcp.sandbox.faults import Faults
from scale_mcp.sandbox.http import LOOPBACK
from scale_mcp.sandbox.projects import Projects
from scale_mcp.sandbox.quality import Quality
from scale_mcp.sandbox.request_log import RequestLog
from scale_mcp.sandbox.store import Store
from scale_mcp.sandbox.studio import Studio
from scale_mcp.sandbox.tasks import Tasks
from scale_mcp.sandbox.team import Team

if TYPE_CHECKING:
    import httpx2

SANDBOX_URL = "http://sandbox.localhost/v1"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SandboxOptions:
    """How a sandbox behaves. Rates are probabilities from 0 to 1."""

    db: str = ":memory:"
    clock: ClockKind = "real"
    speed: float = 3600.0  # virtual seconds per real second, fast clock only
    seed: int = 0
    callback_auth: str = "sandbox-callback-auth"
    callback_hosts: tuple[str, ...] = LOOPBACK
    workers: int = 12
    public_url: str | None = None  # base of result URLs in callbacks, e.g. http://127.0.0.1:8787/v1
    enterprise: bool = True  # without it, Enterprise-only task types are refused with 402
    recall_rate: float = 0.0  # completed live tasks that go back to pending on their own
    redo_rate: float = 0.0  # rejected live tasks that are done again


class Sandbox:
    """Scale's API in a box.

    The application answers without being started (due events then run with the requests); entered as an async
    context manager, or served with lifespan events, it also keeps time on its own.
    """

    def __init__(self, options: SandboxOptions | None = None) -> None:
        self.options = options or SandboxOptions()
        self.store = Store(self.options.db, schema.scripts())
        self.clock = Clock(self.store, self.options.clock, self.options.speed)
        self.agenda = Agenda(self.store, self.clock)
        self.projects = Projects(self.store, self.clock)
        self.batches = Batches(self.store, self.clock)
        self.studio = Studio(self.store)
        self.team = Team(self)
        self.attachments = Attachments(self)
        self.tasks = Tasks(self)
        self.engine = Engine(self)
        self.deliveries = Deliveries(self)
        self.quality = Quality(self)
        self.faults, self.log = Faults(self), RequestLog(self)
        self.base_url = self.options.public_url or SANDBOX_URL
        self.app = App(self, routes.all_routes(), self.faults, self.log)
        self._numbers: dict[str, int] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._keeps_time = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self.agenda.changed = self._notice

    # Accounts

    def greet(self, account: Account, base_url: str) -> None:
        """Note a caller: its account's row, and where result URLs in callbacks should point."""
        if self.options.public_url is None:
            self.base_url = base_url
        self.register(account)

    def register(self, account: Account) -> int:
        """Make sure that an account has its row; returns its number, to which the rows of tasks refer."""
        number = self._numbers.get(account.id)
        if number is None:
            self.store.execute(
                "INSERT INTO accounts (id, mode, pair, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                (account.id, account.mode, account.pair, self.clock.iso()),
            )
            number = self._numbers[account.id] = int(
                self.store.value("SELECT no FROM accounts WHERE id = ?", (account.id,))
            )
        return number

    def account_no(self, account_id: str) -> int:
        """The number of an account that has called before; KeyError for any other."""
        number = self._numbers.get(account_id) or self.store.value(
            "SELECT no FROM accounts WHERE id = ?", (account_id,)
        )
        if number is None:
            raise KeyError(account_id)
        return int(number)

    def account_id(self, account_no: int) -> str:
        return str(self.store.value("SELECT id FROM accounts WHERE no = ?", (account_no,)))

    def pair(self, account_no: int) -> str:
        """What the live and the test key of one owner have in common."""
        return str(self.store.value("SELECT pair FROM accounts WHERE no = ?", (account_no,)))

    def forget_accounts(self) -> None:
        """The accounts' rows were removed by hand (a reset): number them anew."""
        self._numbers.clear()

    def seed_tasks(self, account: Account, count: int, **details: Any) -> None:
        """Add many tasks at once, for tests and measurements (see bulk.py for the details)."""
        from scale_mcp.sandbox.bulk import seed_tasks

        seed_tasks(self, account, count, **details)

    def transport(self) -> httpx2.AsyncBaseTransport:
        """The sandbox in process, for any httpx2 client whose base URL is ``SANDBOX_URL``."""
        from scale_mcp.sandbox.transport import InProcessTransport

        return InProcessTransport(self.app)

    # Time

    async def settle(self) -> None:
        """Run everything that is due, and wait for callback deliveries under way.

        What comes after a retry that may have to be planned waits for it, so that all happens in the order of time.
        """
        while await self.agenda.run_until(self.deliveries.next_retry) or await self.deliveries.settle():
            pass

    async def advance(self, seconds: float) -> float:
        """Move the clock forward, run all that falls due on the way, and return the new time."""
        now = self.clock.advance(seconds)
        await self.settle()
        return now

    def _notice(self) -> None:
        """Wake the ticker, from whichever thread something was planned."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def set_clock(self, kind: ClockKind, speed: float | None = None) -> None:
        """Go on with another kind of clock, from the present moment; a restart goes back to that of the options."""
        self.clock.change(kind, self.options.speed if speed is None else speed)
        if self._keeps_time:
            await self.stop()
            await self.start()

    async def start(self) -> None:
        """Begin to keep time (real and fast clocks; a manual one waits for ``advance``)."""
        self._keeps_time = True
        if self._ticker is None and self.clock.kind != "manual":
            self._loop = asyncio.get_running_loop()
            self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Stop the ticker and remember the time; the store stays open."""
        self._keeps_time = False
        if self._ticker is not None:
            self._ticker.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticker
            self._ticker = self._loop = None
        self.clock.save()

    async def close(self) -> None:
        await self.stop()
        await self.deliveries.close()
        self.store.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _tick(self) -> None:
        while True:
            self._wake.clear()
            try:
                due = self.agenda.next_due()
                wait = None if due is None else self.clock.real_seconds_until(due)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), wait)
                await self.agenda.run_due()
            except sqlite3.Error:
                logger.exception("The database cannot be used; trying again")
                await asyncio.sleep(1)
