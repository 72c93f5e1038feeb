"""Connections: Scale accounts and their keys, which lie sealed in the vault and are opened in memory only."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pydantic import SecretStr

from scale_mcp.hosting.clock import Clock, stamp, utc_now
from scale_mcp.hosting.connection_records import (
    ConnectionRecord,
    KeyRecord,
    Kind,
    connections,
    key_record,
    read_records,
    scale_keys,
)
from scale_mcp.hosting.connection_rules import (
    ConnectionProblem,
    demand_callback_secret,
    demand_mode,
    demand_name,
    examined,
    hidden,
    kind_of,
)
from scale_mcp.hosting.ids import new_id
from scale_mcp.hosting.key_checks import (
    Finding,
    OpenApi,
    demand_ok,
    demand_same_account,
    look,
    over_the_network,
)
from scale_mcp.hosting.key_use import UseNotes
from scale_mcp.settings import DEFAULT_API_URL

if TYPE_CHECKING:
    from builtins import list as List  # noqa: N812  # the class has a method of that name

    from sqlalchemy.ext.asyncio import AsyncConnection

    from scale_mcp.hosting.audit.recording import Recording
    from scale_mcp.hosting.store import Database
    from scale_mcp.hosting.vault import Vault

KEY_PURPOSE, CALLBACK_PURPOSE, FINGERPRINT_PURPOSE = "scale key", "callback secret", "key fingerprints"
UNCHECKED = "unchecked"


class Connections:
    """The operator's connections. Every change is audited and seen by all replicas.

    Methods that take ``connection`` take its name or id; ``actor`` is who asked for the change. All of them raise
    ``ConnectionProblem`` when there is no such connection.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        recorder: Recording,
        *,
        clock: Clock = utc_now,
        open_api: OpenApi = over_the_network,
    ) -> None:
        """``open_api`` gives the API that keys are checked with."""
        self._database = database
        self._vault = vault
        self._recorder = recorder
        self._clock = clock
        self._open_api = open_api
        self._uses = UseNotes(database, clock)

    async def list(self, include_removed: bool = False) -> List[ConnectionRecord]:
        """All connections, by name."""
        async with self._database.reading() as connection:
            return await read_records(connection, include_removed=include_removed)

    async def get(self, connection: str) -> ConnectionRecord:
        async with self._database.reading() as transaction:
            return await _get(transaction, connection)

    async def add(
        self,
        name: str,
        key: SecretStr | str,
        *,
        base_url: str = DEFAULT_API_URL,
        kind: Kind | None = None,
        check: bool = True,
        actor: str,
    ) -> ConnectionRecord:
        """Add a connection with its first key.

        kind      live or test follows from the key; sandbox has to be said, and is for this machine only
        check     ask Scale whether it takes the key, and store nothing when it does not

        Raises ``ConnectionProblem``, ``KeyUnusable``, and of the check ``KeyRefused`` and ``KeyNotChecked``.
        """
        key = hidden(key)
        demand_name(name)
        base_url, mode = examined(key, base_url, self._open_api)
        kind = kind_of(kind, mode, base_url)
        finding = await look(key, base_url, self._open_api) if check else None
        if finding is not None:
            demand_ok(finding)
        row = {
            "id": new_id("con"),
            "name": name,
            "kind": kind,
            "mode": mode,
            "base_url": base_url,
            "created_at": stamp(self._clock()),
        }
        async with self._changing() as connection:
            if await read_records(connection, connections.c.name == name):
                raise ConnectionProblem(
                    f"There is a connection {name} already. `scale-mcp connection rotate {name}` gives it another key."
                )
            await self._demand_new(connection, key, base_url)
            await connection.execute(sa.insert(connections).values(row))
            record = await self._store_key(connection, row["id"], key, finding)
            about = {"kind": kind, "base_url": base_url, **_shown(record), "checked": check}
            await self._note(connection, "connection.added", actor, (row["id"], name), about)
        return await self.get(row["id"])

    async def add_key(self, connection: str, key: SecretStr | str, *, check: bool = True, actor: str) -> KeyRecord:
        """Add a key of the same account and mode. Calls use it from now on, beside those there are.

        Raises ``KeyUnusable``, and of the check ``KeyRefused`` (also for another account's key), ``KeyNotChecked``.
        """
        key = hidden(key)
        record = await self.get(connection)
        _, mode = examined(key, record.base_url, self._open_api)
        demand_mode(mode, record)
        finding = await look(key, record.base_url, self._open_api) if check else None
        if finding is not None:
            demand_ok(finding)
            for _, other in (await self.keys(record.id))[:1]:
                demand_same_account(await look(other, record.base_url, self._open_api), finding, record.name)
        async with self._changing() as transaction:
            record = await _get(transaction, record.id)
            await self._demand_new(transaction, key, record.base_url)
            added = await self._store_key(transaction, record.id, key, finding)
            about = {**_shown(added), "checked": check}
            await self._note(transaction, "connection.key_added", actor, (record.id, record.name), about)
        return added

    async def retire_key(self, connection: str, key_id: str, actor: str) -> KeyRecord:
        """Use a key no more, and wipe it. Raises ``ConnectionProblem`` for a connection's last one."""
        async with self._changing() as transaction:
            record = await _get(transaction, connection)
            found = next((key for key in record.active_keys if key_id in (key.id, key.fingerprint)), None)
            if found is None:
                raise ConnectionProblem(
                    f"{record.name} has no active key {key_id[:80]!r}. `scale-mcp connection list` shows those it has."
                )
            if len(record.active_keys) == 1:
                raise ConnectionProblem(
                    f"This is the only key of {record.name}. `scale-mcp connection rotate {record.name}` puts another "
                    f"in its place; `scale-mcp connection remove {record.name}` ends the connection."
                )
            await self._wipe(transaction, scale_keys.c.id == found.id)
            await self._note(transaction, "connection.key_retired", actor, (record.id, record.name), _shown(found))
            row = (await transaction.execute(sa.select(scale_keys).where(scale_keys.c.id == found.id))).one()
        return key_record(row)

    async def remove(self, connection: str, actor: str) -> ConnectionRecord:
        """End a connection: its keys are wiped, what it did stays in the audit trail."""
        async with self._changing() as transaction:
            record = await _get(transaction, connection)
            await self._wipe(
                transaction, sa.and_(scale_keys.c.connection_id == record.id, scale_keys.c.status == "active")
            )
            await transaction.execute(
                sa.update(connections)
                .where(connections.c.id == record.id)
                .values(removed_at=stamp(self._clock()), callback_secret=None)
            )
            about = {"fingerprints": [key.fingerprint for key in record.active_keys]}
            await self._note(transaction, "connection.removed", actor, (record.id, record.name), about)
        return record

    async def keys(self, connection_id: str) -> List[tuple[KeyRecord, SecretStr]]:
        """The active keys of a connection, opened, the oldest first; none for one that is removed or unknown.

        Raises ``VaultError`` when one cannot be opened.
        """
        wanted = (
            sa.select(scale_keys)
            .where(scale_keys.c.connection_id == connection_id, scale_keys.c.status == "active")
            .order_by(scale_keys.c.created_at, scale_keys.c.id)
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(wanted)).all()
        return [(key_record(row), self._vault.open(row.sealed, row=row.id, purpose=KEY_PURPOSE)) for row in rows]

    async def check(self, connection: str) -> List[tuple[KeyRecord, Finding]]:
        """Ask Scale about each active key, and note what it said."""
        record = await self.get(connection)
        found = []
        for key, opened in await self.keys(record.id):
            finding = await look(opened, record.base_url, self._open_api)
            async with self._database.writing() as transaction:
                values = {"checked_at": stamp(self._clock()), "last_status": finding.status}
                await transaction.execute(sa.update(scale_keys).where(scale_keys.c.id == key.id).values(values))
            found.append((key, finding))
        return found

    async def used(self, key_id: str, status: str) -> None:
        """Note that a key was used, and how Scale took it: ok, limited, refused, …. Cheap enough for every call.

        Raises nothing: a note that cannot be written is left out.
        """
        await self._uses.note(key_id, status)

    async def set_callback_secret(self, connection: str, secret: SecretStr | str | None, actor: str) -> None:
        """Keep what Scale sends as ``scale-callback-auth`` with this account's callbacks; None takes none."""
        secret = None if secret is None else hidden(secret)
        if secret is not None:
            demand_callback_secret(secret)
        async with self._changing() as transaction:
            record = await _get(transaction, connection)
            sealed = None if secret is None else self._vault.seal(secret, row=record.id, purpose=CALLBACK_PURPOSE)
            await transaction.execute(
                sa.update(connections).where(connections.c.id == record.id).values(callback_secret=sealed)
            )
            event = "connection.callback_secret_set" if sealed else "connection.callback_secret_removed"
            await self._note(transaction, event, actor, (record.id, record.name), {})

    async def callback_secret(self, connection_id: str) -> SecretStr | None:
        """What callbacks of this connection must carry; None when none are taken. Raises ``VaultError``."""
        wanted = sa.select(connections.c.callback_secret).where(connections.c.id == connection_id)
        async with self._database.reading() as connection:
            sealed = (await connection.execute(wanted)).scalar_one_or_none()
        return None if sealed is None else self._vault.open(sealed, row=connection_id, purpose=CALLBACK_PURPOSE)

    async def _demand_new(self, connection: AsyncConnection, key: SecretStr, base_url: str) -> None:
        same = sa.and_(scale_keys.c.fingerprint == self._fingerprint(key), scale_keys.c.status == "active")
        wanted = sa.select(connections.c.name).join(scale_keys).where(same, connections.c.base_url == base_url)
        if name := (await connection.execute(wanted)).scalars().first():
            raise ConnectionProblem(f"This key is there already, in the connection {name}. Nothing was changed.")

    def _fingerprint(self, key: SecretStr) -> str:
        secret = self._vault.derive(FINGERPRINT_PURPOSE)
        return hmac.new(secret, key.get_secret_value().encode(), hashlib.sha256).hexdigest()[:12]

    async def _store_key(
        self, connection: AsyncConnection, connection_id: str, key: SecretStr, finding: Finding | None
    ) -> KeyRecord:
        key_id, now = new_id("key"), stamp(self._clock())
        row = {
            "id": key_id,
            "connection_id": connection_id,
            "fingerprint": self._fingerprint(key),
            "sealed": self._vault.seal(key, row=key_id, purpose=KEY_PURPOSE),
            "status": "active",
            "created_at": now,
            "checked_at": now if finding else None,
            "last_status": finding.status if finding else UNCHECKED,
        }
        await connection.execute(sa.insert(scale_keys).values(row))
        return key_record((await connection.execute(sa.select(scale_keys).where(scale_keys.c.id == key_id))).one())

    async def _wipe(self, connection: AsyncConnection, which: sa.ColumnElement[bool]) -> None:
        values = {"status": "retired", "retired_at": stamp(self._clock()), "sealed": None}
        await connection.execute(sa.update(scale_keys).where(which).values(values))

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction in which something is changed. Such changes go one after the other, in all replicas."""
        async with self._database.writing() as connection:
            await self._database.changed(connection)
            yield connection

    async def _note(
        self, connection: AsyncConnection, event: str, actor: str, which: tuple[str, str], about: dict[str, Any]
    ) -> None:
        """Write a change into the audit trail. ``which``: the connection's id and name."""
        content = {"actor": actor, "connection": which[1], "connection_id": which[0], **about}
        await self._recorder.append(event, content, connection=connection)


def _shown(key: KeyRecord) -> dict[str, str]:
    return {"key_id": key.id, "fingerprint": key.fingerprint}


async def _get(transaction: AsyncConnection, connection: str) -> ConnectionRecord:
    by_id = connection.startswith("con_")
    found = await read_records(transaction, (connections.c.id if by_id else connections.c.name) == connection)
    if not found:
        raise ConnectionProblem(
            f"There is no connection {connection[:80]!r}. `scale-mcp connection list` shows those there are."
        )
    return found[0]
