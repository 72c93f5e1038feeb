"""Everything behind a hosted server, opened together and closed together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from scale_mcp.hosting.accounts import Accounts
from scale_mcp.hosting.approvals import Approvals
from scale_mcp.hosting.audit.recorder import Recorder
from scale_mcp.hosting.budgets import Budgets
from scale_mcp.hosting.clock import Clock, utc_now
from scale_mcp.hosting.confinement import Confinement
from scale_mcp.hosting.connections import Connections
from scale_mcp.hosting.directory import Directory
from scale_mcp.hosting.events.bus import EventBus
from scale_mcp.hosting.events.inbox import Inbox
from scale_mcp.hosting.events.log import EventLog
from scale_mcp.hosting.events.outbound import Outbound
from scale_mcp.hosting.events.poller import Poller
from scale_mcp.hosting.events.sender import Sender
from scale_mcp.hosting.events.source import EventSource
from scale_mcp.hosting.events.webhooks import Webhooks
from scale_mcp.hosting.homes import Homes
from scale_mcp.hosting.master_key_places import master_keys_of
from scale_mcp.hosting.routing import Router
from scale_mcp.hosting.spent_answers import SpentAnswers
from scale_mcp.hosting.store import Database, default_url
from scale_mcp.hosting.tally import Tally
from scale_mcp.hosting.vault import Vault

if TYPE_CHECKING:
    from scale_mcp.hosting.personas import Persona
    from scale_mcp.settings import Settings


@dataclass(frozen=True)
class House:
    """The parts, each documented where it is. ``async with House.opened(settings) as house``."""

    database: Database
    vault: Vault
    recorder: Recorder
    connections: Connections
    directory: Directory
    accounts: Accounts
    homes: Homes
    router: Router
    budgets: Budgets
    approvals: Approvals
    spent: SpentAnswers
    events: EventLog
    bus: EventBus
    inbox: Inbox
    poller: Poller
    sender: Sender
    tally: Tally = field(default_factory=Tally)

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: Settings, clock: Clock = utc_now) -> AsyncIterator[House]:
        """Open the store and the vault, and make the parts. Raises ``StoreError`` and ``VaultError``."""
        master_keys = master_keys_of(settings)
        url = settings.store.get_secret_value() if settings.store else default_url()
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(Database.opened(url))
            vault = await Vault.opened(database, master_keys, clock=clock)
            recorder = Recorder(database, clock)
            stack.push_async_callback(recorder.settled)
            connections = Connections(database, vault, recorder, clock=clock)
            accounts = await stack.enter_async_context(
                Accounts.opened(database, connections, settings, clock, recorder.know)
            )
            homes = Homes(database, clock)
            events = EventLog(database, clock=clock)
            outbound = await stack.enter_async_context(Outbound())
            webhooks = Webhooks(database, vault, recorder, clock=clock)
            yield cls(
                database=database,
                vault=vault,
                recorder=recorder,
                connections=connections,
                directory=Directory(database, clock),
                accounts=accounts,
                homes=homes,
                router=Router(accounts, homes, clock),
                budgets=Budgets(database, clock),
                approvals=Approvals(database, recorder, clock),
                spent=SpentAnswers(database, clock),
                events=events,
                bus=EventBus(events),
                inbox=Inbox(database, events, accounts, clock=clock),
                poller=Poller(database, events, accounts, accounts, clock=clock),
                sender=Sender(database, events, webhooks, outbound, clock=clock),
            )

    def confinement(self, persona: Persona) -> Confinement:
        """What keeps a persona to its projects."""
        return Confinement(persona, self.vault.derive("cursors"), self.homes)

    def events_of(self, persona: Persona) -> EventSource:
        """The events that a persona may see."""
        connections = self.accounts.ids_of(route.connection for route in persona.routes)
        return EventSource(self.events, self.bus, connections=connections, projects=persona.projects)

    async def work(self, interval: float) -> None:
        """What goes on behind the calls, for good. ``interval`` is the time between two looks at what is due, in s."""
        async with anyio.create_task_group() as tasks:
            for part in (self.inbox.run, self.poller.run, self.bus.run, self.sender.run, self.accounts.watch_health):
                tasks.start_soon(part, interval)
            tasks.start_soon(self.events.tidy)
