"""The opened Scale API of each connection: one for all personas of this process, over all of the connection's keys.

What is known of connections is as new as the store's revision number that a request has seen: a key that was added is
used, and one that was retired is not, from the next call on. An account is opened when it is first needed and closed
with the process, never with a session.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import anyio
import sqlalchemy as sa
from pydantic import SecretStr

from scale_mcp.api import ApiOptions, ScaleApi
from scale_mcp.hosting.clock import Clock, utc_now
from scale_mcp.hosting.events.poller import Watched
from scale_mcp.hosting.health import KeyHealths
from scale_mcp.hosting.master_keys import VaultError
from scale_mcp.hosting.store.tables import revision
from scale_mcp.tools.card import ToolFailure

if TYPE_CHECKING:
    from scale_mcp.hosting.connection_records import ConnectionRecord, Kind
    from scale_mcp.hosting.connections import Connections
    from scale_mcp.hosting.store import Database
    from scale_mcp.settings import Settings

PATIENCE = 20.0  # seconds that a call waits for a key that rests; then others are asked, or the caller is told the wait
UNTOLD_FOR = 1.0  # seconds that nobody may tell the revision before the store is asked for it

OpenPool = Callable[[Mapping[str, SecretStr], str], ScaleApi]  # the keys by their ids, and the API address
log = logging.getLogger(__name__)


class NoKey(ToolFailure):
    """A connection whose keys cannot be used: none is left, or the vault does not open them."""

    code = "connection_unavailable"


class Account:
    """One connection, opened."""

    def __init__(self, record: ConnectionRecord, api: ScaleApi) -> None:
        self.record = record
        self.api = api
        self.writes = 0  # begun and ended; what was read at another number may be out of date

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def kind(self) -> Kind:
        return self.record.kind

    @property
    def under_pressure(self) -> bool:
        """Whether Scale has limited a key of it, which has not been fine again since."""
        keys = self.api.keys
        return keys is not None and keys.under_pressure

    def __repr__(self) -> str:
        return f"Account({self.name!r}, {self.kind})"


class Accounts:
    """All connections, as one process uses them."""

    def __init__(
        self,
        database: Database,
        connections: Connections,
        options: ApiOptions,
        *,
        clock: Clock = utc_now,
        open_pool: OpenPool | None = None,
        replica: str = "",
        tell: Callable[[Iterable[str]], None] = lambda keys: None,
    ) -> None:
        """``tell`` hears of every key that is opened here, to keep it out of what is written down."""
        self.health = KeyHealths(database, connections, clock, replica)
        self._database = database
        self._connections = connections
        self._tell = tell
        self._open_pool = open_pool or _over_the_network(options)
        self._records: dict[str, ConnectionRecord] = {}  # by name
        self._opened: dict[str, Account] = {}  # by id
        self._left: list[Account] = []  # whose connections were removed; they may have requests under way
        self._seen, self._known, self._looked_at = 0, -1, 0.0
        self._lock = anyio.Lock()

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        database: Database,
        connections: Connections,
        settings: Settings,
        clock: Clock = utc_now,
        tell: Callable[[Iterable[str]], None] = lambda keys: None,
    ) -> AsyncIterator[Self]:
        """The accounts of a server, which closes them at its end."""
        options = ApiOptions(max_in_flight=settings.max_in_flight, max_retry_after=PATIENCE)
        accounts = cls(database, connections, options, clock=clock, tell=tell)
        try:
            await accounts.kinds()  # so that what is asked without waiting is known from the beginning
            yield accounts
        finally:
            await accounts.aclose()

    def seen(self, number: int) -> None:
        """Somebody has read the store's revision number: what is known at an older one is not used any more."""
        self._seen = max(self._seen, number)
        self._looked_at = time.monotonic()

    async def named(self, name: str) -> Account | None:
        """The account of a connection, opened; None when there is no such connection. Raises ``NoKey``."""
        await self._refresh()
        record = self._records.get(name)
        return None if record is None else await self._account(record)

    async def kinds(self) -> Mapping[str, Kind]:
        """The connections there are, by name."""
        await self._refresh()
        return {name: record.kind for name, record in self._records.items()}

    async def api(self, connection_id: str) -> ScaleApi | None:
        """The API of a connection; None when there is no such connection any more. Raises ``NoKey``."""
        await self._refresh()
        record = next((record for record in self._records.values() if record.id == connection_id), None)
        return None if record is None else (await self._account(record)).api

    async def watched(self) -> list[Watched]:
        """All connections, for the poller."""
        await self._refresh()
        return [Watched(record.id, record.has_callback_secret) for record in self._records.values()]

    def ids_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """The ids of the connections of these names, as known by now."""
        return tuple(self._records[name].id for name in dict.fromkeys(names) if name in self._records)

    def open_ones(self) -> list[Account]:
        """The accounts that are open."""
        return list(self._opened.values())

    def account_of(self, connection_id: str) -> Account | None:
        """An account that is open already."""
        return self._opened.get(connection_id)

    async def note_health(self, *, last: bool = False) -> None:
        """Write down how the keys fare, for the command line and the operator's page. Raises nothing."""
        await self.health.write([account.api.keys for account in self._opened.values()], last=last)

    async def watch_health(self, interval: float) -> None:
        """Go on doing so, for good. ``interval`` in seconds."""
        while True:
            await anyio.sleep(interval)
            await self.note_health()

    async def aclose(self) -> None:
        """Close everything. No call can be made afterwards."""
        with anyio.CancelScope(shield=True):
            await self.note_health(last=True)
            for account in (*self._opened.values(), *self._left):
                await account.api.aclose()
            self._opened.clear()
            self._left.clear()

    async def _account(self, record: ConnectionRecord) -> Account:
        if (account := self._opened.get(record.id)) is not None:
            return account
        async with self._lock:
            if (account := self._opened.get(record.id)) is None:
                keys = await self._keys(record)
                account = self._opened[record.id] = Account(record, self._open_pool(keys, record.base_url))
        return account

    async def _keys(self, record: ConnectionRecord) -> dict[str, SecretStr]:
        try:
            keys = await self._connections.keys(record.id)
        except VaultError as problem:
            log.error("The keys of connection %s cannot be opened: %s", record.name, problem)
            keys = []
        if not keys:
            raise NoKey(f"The connection {record.name} has no key that can be used. Ask the operator to look at it.")
        self._tell(secret.get_secret_value() for _, secret in keys)
        return {key.id: secret for key, secret in keys}

    async def _refresh(self) -> None:
        """Learn what has changed, if anything has."""
        if time.monotonic() - self._looked_at > UNTOLD_FOR:
            self.seen(await self._revision())
        if self._known >= self._seen:
            return
        async with self._lock:
            if self._known >= self._seen:
                return
            number = await self._revision()  # before the rest: what changes in between is read again
            self._records = {record.name: record for record in await self._connections.list()}
            there = {record.id: record for record in self._records.values()}
            for account in list(self._opened.values()):
                await self._renew(account, there.get(account.id))
            self._known = number

    async def _renew(self, account: Account, record: ConnectionRecord | None) -> None:
        pool = account.api.keys
        assert pool is not None
        if record is None:
            self._left.append(self._opened.pop(account.id))
            keys: dict[str, SecretStr] = {}
        else:
            account.record = record
            if {key.id for key in record.active_keys} == set(pool.names):
                return
            try:
                keys = await self._keys(record)
            except NoKey:
                self._left.append(self._opened.pop(account.id))
                keys = {}
        for key_id, secret in keys.items():
            pool.add(key_id, secret)
        for key_id in pool.names:
            if key_id not in keys:
                pool.retire(key_id)

    async def _revision(self) -> int:
        async with self._database.reading() as connection:
            return int((await connection.execute(sa.select(revision.c.number))).scalar_one())


def _over_the_network(options: ApiOptions) -> OpenPool:
    return lambda keys, base_url: ScaleApi.pooled(keys, base_url=base_url, options=options)
