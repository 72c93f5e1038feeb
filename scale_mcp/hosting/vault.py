"""Seals what must not be read in the database, and opens it in memory for those who use it.

Every secret has a data key of its own; a master key, which is never in the database, seals the data keys. Columns that
hold sealed text are marked ``info=SEALED``: that is how ``rotate`` and ``status`` find them all.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from scale_mcp.hosting import envelope
from scale_mcp.hosting.clock import Clock, stamp, utc_now
from scale_mcp.hosting.envelope import Envelope, NotAuthentic
from scale_mcp.hosting.master_keys import MasterKey, MasterKeys, VaultError
from scale_mcp.hosting.store import metadata

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from scale_mcp.hosting.audit.recording import Recording
    from scale_mcp.hosting.store import Database

SEALED: dict[str, Any] = {"sealed": True}
ROOT_ROW, ROOT_PURPOSE = "vault", "root"
DAMAGED = "(damaged)"  # in place of the id of a master key, where sealed text cannot be read

# One row: the secret that all derived ones come from.
vault = sa.Table(
    "vault",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("root", sa.Text, nullable=False, info=SEALED),
    sa.Column("created_at", sa.String(27), nullable=False),
)

# The master keys that this database has met, each with a proof by which it is known again.
master_keys_met = sa.Table(
    "master_keys",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("proof", sa.String(64), nullable=False),
    sa.Column("first_met_at", sa.String(27), nullable=False),
)


@dataclass(frozen=True)
class MasterKeyStatus:
    """A master key: whether this process knows it, whether it seals what is new, and how many secrets need it.

    ``id`` is ``DAMAGED`` for secrets that somebody made unreadable.
    """

    id: str
    known: bool
    current: bool
    secrets: int
    first_met_at: str | None


class Vault:
    """An opened vault. ``await Vault.opened(database, master_keys)``."""

    def __init__(self, database: Database, master_keys: MasterKeys, root: SecretStr, clock: Clock) -> None:
        self._database = database
        self._master_keys = master_keys
        self._root = root  # 32 bytes in hex
        self._clock = clock

    def __repr__(self) -> str:
        return f"Vault({self._master_keys!r})"

    @classmethod
    async def opened(cls, database: Database, master_keys: MasterKeys, *, clock: Clock = utc_now) -> Vault:
        """Check that these master keys open all there is, and make a new vault where there is none.

        Raises ``VaultError`` when one is missing that a secret needs, or is another than the one of that name before.
        """
        async with database.reading() as connection:
            new_keys = await _not_met(connection, master_keys)
            await _check_in_use(connection, master_keys)
            sealed_root = await _root(connection)
        if new_keys or sealed_root is None:
            async with database.writing() as connection:
                await database.changed(connection)  # of several replicas that start together, one goes first
                await _meet(connection, master_keys, clock)
                sealed_root = await _root(connection) or await _new_root(connection, master_keys.current, clock)
        return cls(database, master_keys, _open(sealed_root, master_keys, ROOT_ROW, ROOT_PURPOSE), clock)

    def seal(self, secret: SecretStr | str, *, row: str, purpose: str) -> str:
        """Text to store, which only ``open`` with the same row and purpose gives back.

        Raises ``VaultError`` when the master keys cannot be looked at anew, where they may have changed: nothing is
        sealed with one that was given up since.
        """
        hidden = SecretStr(secret) if isinstance(secret, str) else secret
        if self._master_keys.place.may_change:
            self._master_keys.reread()
        return str(envelope.seal(hidden, self._master_keys.current, row, purpose))

    def open(self, sealed: str, *, row: str, purpose: str) -> SecretStr:
        """What was sealed. Raises ``VaultError`` when it was changed, is of another row, or its master key is gone."""
        return _open(sealed, self._master_keys, row, purpose)

    def derive(self, purpose: str) -> bytes:
        """32 bytes for this purpose: the same in every replica and for ever, whatever the master keys are."""
        algorithm = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=f"scale-mcp {purpose}".encode())
        return algorithm.derive(bytes.fromhex(self._root.get_secret_value()))

    async def rotate(self, actor: str, *, recorder: Recording) -> int:
        """Seal with the current master key what another one sealed, and say how many secrets that were.

        Others may use the vault meanwhile: they find each secret sealed as before or as it is now, all of it or none.
        """
        self._master_keys.reread()
        current = self._master_keys.current
        async with self._database.writing() as connection:
            await self._database.changed(connection)
            await _meet(connection, self._master_keys, self._clock)
            rewrapped = 0
            async for column, where, text in _all_sealed(connection):
                old = _envelope(text, column.table.name)
                if old.master_id == current.id:
                    continue
                new = _rewrapped(old, self._master_keys, current, column.table.name)
                # Only in place of what was read: somebody may have put another secret there since.
                changed = await connection.execute(
                    sa.update(column.table).where(where, column == text).values({column: str(new)})
                )
                rewrapped += changed.rowcount
            await recorder.append(
                "vault.rotated",
                {"actor": actor, "master_key_id": current.id, "rewrapped": rewrapped},
                connection=connection,
            )
        return rewrapped

    async def status(self) -> list[MasterKeyStatus]:
        """Every master key that is known here, was met before or is needed, the current one first."""
        return await status_of(self._database, self._master_keys)


async def status_of(database: Database, master_keys: MasterKeys) -> list[MasterKeyStatus]:
    """As ``Vault.status``, for a vault that these master keys may not open."""
    async with database.reading() as connection:
        needed = await _in_use(connection)
        met = {row.id: row.first_met_at for row in await connection.execute(sa.select(master_keys_met))}
    names = dict.fromkeys([*master_keys.ids, *sorted(needed), *sorted(met)])
    return [
        MasterKeyStatus(
            name, name in master_keys.ids, name == master_keys.current.id, needed.get(name, 0), met.get(name)
        )
        for name in names
    ]


async def _not_met(connection: AsyncConnection, master_keys: MasterKeys) -> list[MasterKey]:
    """Those that this database has not met. Raises ``VaultError`` for one that is another by the same name."""
    met = {row.id: row.proof for row in await connection.execute(sa.select(master_keys_met))}
    for key in master_keys:
        if not secrets.compare_digest(met.get(key.id, key.proof), key.proof):
            raise VaultError(
                f"The master key {key.id!r} in {master_keys.place.name} is not the one by this name that the vault "
                "was sealed with. Put the right one back; a new one needs a new name."
            )
    return [key for key in master_keys if key.id not in met]


async def _meet(connection: AsyncConnection, master_keys: MasterKeys, clock: Clock) -> None:
    for key in await _not_met(connection, master_keys):
        values = {"id": key.id, "proof": key.proof, "first_met_at": stamp(clock())}
        await connection.execute(sa.insert(master_keys_met).values(values))


async def _root(connection: AsyncConnection) -> str | None:
    return (await connection.execute(sa.select(vault.c.root))).scalar_one_or_none()


async def _new_root(connection: AsyncConnection, current: MasterKey, clock: Clock) -> str:
    text = str(envelope.seal(SecretStr(secrets.token_hex(32)), current, ROOT_ROW, ROOT_PURPOSE))
    await connection.execute(sa.insert(vault).values(id=1, root=text, created_at=stamp(clock())))
    return text


async def _check_in_use(connection: AsyncConnection, master_keys: MasterKeys) -> None:
    for name, count in sorted((await _in_use(connection)).items()):
        if name != DAMAGED and master_keys.get(name) is None:
            raise VaultError(
                f"The vault cannot be opened: {count} of its secrets are sealed with the master key {name!r}, which is "
                f"not in {master_keys.place.name}. Put it there, behind the current one; after `scale-mcp vault "
                "rotate` it is not needed any more."
            )


async def _in_use(connection: AsyncConnection) -> Counter[str]:
    """How many secrets each master key seals."""
    found: Counter[str] = Counter()
    async for _, _, text in _all_sealed(connection):
        try:
            found[Envelope.read(text).master_id] += 1
        except NotAuthentic:
            found[DAMAGED] += 1
    return found


async def _all_sealed(connection: AsyncConnection) -> AsyncIterator[tuple[sa.Column[str], sa.ColumnElement[bool], str]]:
    """Every sealed text there is: its column, the condition that finds its row, and the text."""
    from scale_mcp.hosting.store import areas  # not before: they use this module

    assert areas
    for table in metadata.sorted_tables:
        for column in table.columns:
            if not column.info.get("sealed"):
                continue
            keys = list(table.primary_key.columns)
            for row in (await connection.execute(sa.select(*keys, column).where(column.is_not(None)))).all():
                where = sa.and_(*(key == value for key, value in zip(keys, row[:-1], strict=True)))
                yield column, where, row[-1]


def _envelope(text: str, what: str) -> Envelope:
    try:
        return Envelope.read(text)
    except NotAuthentic:
        raise _damaged(what) from None


def _open(text: str, master_keys: MasterKeys, row: str, purpose: str) -> SecretStr:
    sealed = _envelope(text, row)
    try:
        return envelope.unseal(sealed, _needed(sealed, master_keys), row, purpose)
    except NotAuthentic:
        raise _damaged(row) from None


def _rewrapped(old: Envelope, master_keys: MasterKeys, current: MasterKey, what: str) -> Envelope:
    try:
        return envelope.rewrap(old, _needed(old, master_keys), current)
    except NotAuthentic:
        raise _damaged(what) from None


def _needed(sealed: Envelope, master_keys: MasterKeys) -> MasterKey:
    if (key := master_keys.get(sealed.master_id)) is None:
        raise VaultError(
            f"A secret is sealed with the master key {sealed.master_id[:40]!r}, which is not in "
            f"{master_keys.place.name}. Put it there, behind the current one."
        )
    return key


def _damaged(what: str) -> VaultError:
    return VaultError(
        f"The secret of {what} in the vault was changed or moved by somebody who could not seal it, and is not used. "
        "Restore the database from a copy, or retire this key and add it anew."
    )
