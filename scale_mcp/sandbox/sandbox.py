"""The sandbox as one object: opens the store, wires the areas together, and keeps time."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from scale_mcp.sandbox import routes, schema
from scale_mcp.sandbox.accounts import Account
from scale_mcp.sandbox.agenda import Agenda
from scale_mcp.sandbox.app import App
from scale_mcp.sandbox.clock import Clock
from scale_mcp.sandbox.store import Store

if TYPE_CHECKING:
    import httpx2

SANDBOX_URL = "http://sandbox.localhost/v1"
LOOPBACK = ("localhost", "127.0.0.1", "::1", "sandbox.localhost")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SandboxOptions:
    """How a sandbox behaves. Rates are probabilities from 0 to 1."""

    db: str = ":memory:"
    clock: Literal["real", "fast", "manual"] = "real"
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
        self.faults, self.log = _optional("faults", "Faults", self), _optional("request_log", "RequestLog", self)
        self.base_url = self.options.public_url or SANDBOX_URL
        self.app = App(self, routes.all_routes(), self.faults, self.log)
        self._greeted: set[str] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self.agenda.changed = self._notice

    def greet(self, account: Account, base_url: str) -> None:
        """Note a caller: its account's row, and where result URLs in callbacks should point."""
        if self.options.public_url is None:
            self.base_url = base_url
        if account.id not in self._greeted:
            self.store.execute(
                "INSERT INTO accounts (id, mode, pair, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                (account.id, account.mode, account.pair, self.clock.iso()),
            )
            self._greeted.add(account.id)

    def transport(self) -> httpx2.AsyncBaseTransport:
        """The sandbox in process, for any httpx2 client whose base URL is ``SANDBOX_URL``."""
        from scale_mcp.sandbox.transport import InProcessTransport

        return InProcessTransport(self.app)

    async def settle(self) -> None:
        """Run everything that is due, and wait for callback deliveries under way."""
        while await self.agenda.run_due():
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

    async def start(self) -> None:
        """Begin to keep time (real and fast clocks; a manual one waits for ``advance``)."""
        if self._ticker is None and self.clock.kind != "manual":
            self._loop = asyncio.get_running_loop()
            self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Stop the ticker and remember the time; the store stays open."""
        if self._ticker is not None:
            self._ticker.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticker
            self._ticker = self._loop = None
        self.clock.save()

    async def close(self) -> None:
        await self.stop()
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
            due = self.agenda.next_due()
            wait = None if due is None else self.clock.real_seconds_until(due)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)
            await self.agenda.run_due()


def _optional(module: str, name: str, sandbox: Sandbox):
    """Until those modules are there."""
    try:
        return getattr(__import__(f"scale_mcp.sandbox.{module}", fromlist=[name]), name)(sandbox)
    except ImportError:
        return None
