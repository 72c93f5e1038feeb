"""Tokens of the operators who use the console: random, shown once, kept as a digest, expiring, revocable.

They open the operator's page and nothing else, as personas' tokens open everything but that. A session of the page
names its token and is good for as long as that is.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from pydantic import SecretStr

from scale_mcp.hosting.clock import Clock, stamp, utc_now
from scale_mcp.hosting.errors import OperatorError
from scale_mcp.hosting.ids import new_id
from scale_mcp.hosting.store import metadata

if TYPE_CHECKING:
    from builtins import list as List  # noqa: N812  # the class has a method of that name

    from sqlalchemy.ext.asyncio import AsyncConnection

    from scale_mcp.hosting.audit.recording import Recording
    from scale_mcp.hosting.store import Database

PREFIX = "smcp_console_"  # begins as a persona's token does, so that whatever takes those out of logs takes these out
FORM = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
LONGEST_LIFE = timedelta(days=366)

console_tokens = sa.Table(
    "console_tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Text, nullable=False),
    sa.Column("revoked_at", sa.Text),
    sa.Column("signed_in_at", sa.Text),
    sa.Column("signed_out_at", sa.Text),  # sessions that began before are over
)


class ConsoleTokenProblem(OperatorError):
    """A console token that is not there, or that cannot be as asked."""


@dataclass(frozen=True)
class ConsoleToken:
    """What is known of a console token. ``name`` is the operator's, as the audit trail names them.

    Times are texts of ``clock.stamp``; ``signed_in_at`` and ``signed_out_at`` are the last such moments.
    """

    id: str
    name: str
    created_at: str
    expires_at: str
    revoked_at: str | None = None
    signed_in_at: str | None = None
    signed_out_at: str | None = None

    def state(self, now: str) -> Literal["good", "expired", "revoked"]:
        """``now`` as ``stamp`` writes it."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at <= now else "good"


class ConsoleTokens:
    """Adds, finds, lists and revokes console tokens. Every change is in the audit trail, in the same transaction."""

    def __init__(self, database: Database, recorder: Recording, clock: Clock = utc_now) -> None:
        self._database = database
        self._recorder = recorder
        self._clock = clock

    async def add(self, name: str, *, expires_in: timedelta, actor: str) -> tuple[ConsoleToken, SecretStr]:
        """A new token for the operator of this name, and its record. Nothing can show the token again.

        One operator may have several. Raises ``ConsoleTokenProblem`` for a name or a time to live that cannot be.
        """
        if not NAME.fullmatch(name):
            raise ConsoleTokenProblem(
                f"{name[:80]!r} cannot be an operator's name: use 1 to 64 letters, digits, -, _, . and @, beginning "
                "with a letter or digit."
            )
        if not timedelta(0) < expires_in <= LONGEST_LIFE:
            raise ConsoleTokenProblem(f"Give the token a time to live above zero and of at most {LONGEST_LIFE.days} d.")
        secret = PREFIX + secrets.token_urlsafe(32)
        now = self._clock()
        record = ConsoleToken(new_id("ctk"), name, stamp(now), stamp(now + expires_in))
        async with self._database.writing() as connection:
            values = {**vars(record), "digest": _digest(secret)}
            await connection.execute(sa.insert(console_tokens).values(values))
            await self._note(connection, "console.token_added", actor, record)
        return record, SecretStr(secret)

    async def list(self) -> List[ConsoleToken]:
        """All of them, the oldest first; ended ones included."""
        query = sa.select(*SHOWN).order_by(console_tokens.c.created_at, console_tokens.c.id)
        async with self._database.reading() as connection:
            return [ConsoleToken(**row) for row in (await connection.execute(query)).mappings()]

    async def revoke(self, token_id: str, *, actor: str) -> ConsoleToken:
        """End a token and its sessions, in every replica from the next request on. Again it changes nothing.

        Raises ``ConsoleTokenProblem`` for an id that no token has.
        """
        async with self._database.writing() as connection:
            record = await _by_id(connection, token_id)
            if record is None:
                raise ConsoleTokenProblem(
                    f"There is no console token {token_id[:80]!r}. `scale-mcp console token list` shows those there "
                    "are."
                )
            if record.revoked_at is None:
                record = await self._changed(connection, record, "console.token_revoked", actor, "revoked_at")
        return record

    async def sign_in(self, secret: str, *, peer: str = "") -> ConsoleToken | None:
        """The good token that this is, its use noted in the trail; None for anything else, which is noted nowhere.

        ``peer`` is the address it came from. Raises ``AuditUnavailable``.
        """
        query = sa.select(*SHOWN).where(console_tokens.c.digest == _digest(secret))
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        found = None if row is None else ConsoleToken(**row)
        if found is None or not FORM.fullmatch(secret) or found.state(stamp(self._clock())) != "good":
            return None
        async with self._database.writing() as connection:
            actor = f"console:{found.name}"
            return await self._changed(connection, found, "console.signed_in", actor, "signed_in_at", peer=peer)

    async def sign_out(self, token: ConsoleToken) -> None:
        """End every session of this token that has begun by now."""
        async with self._database.writing() as connection:
            await self._changed(connection, token, "console.signed_out", f"console:{token.name}", "signed_out_at")

    async def of_session(self, token_id: str, began_at: str) -> ConsoleToken | None:
        """The token of a session that began at this moment, if both are good now."""
        async with self._database.reading() as connection:
            found = await _by_id(connection, token_id)
        if found is None or found.state(stamp(self._clock())) != "good":
            return None
        return None if found.signed_out_at is not None and began_at <= found.signed_out_at else found

    async def _changed(
        self, connection: AsyncConnection, record: ConsoleToken, kind: str, actor: str, moment: str, **about: Any
    ) -> ConsoleToken:
        values = {moment: stamp(self._clock())}
        await connection.execute(sa.update(console_tokens).where(console_tokens.c.id == record.id).values(values))
        await self._note(connection, kind, actor, record, **about)
        return ConsoleToken(**{**vars(record), **values})

    async def _note(
        self, connection: AsyncConnection, kind: str, actor: str, record: ConsoleToken, **about: Any
    ) -> None:
        content = {"actor": actor, "operator": record.name, "token_id": record.id, "expires_at": record.expires_at}
        await self._recorder.append(kind, {**content, **about}, connection=connection)


SHOWN = [column for column in console_tokens.columns if column is not console_tokens.c.digest]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


async def _by_id(connection: AsyncConnection, token_id: str) -> ConsoleToken | None:
    query = sa.select(*SHOWN).where(console_tokens.c.id == token_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else ConsoleToken(**row)
