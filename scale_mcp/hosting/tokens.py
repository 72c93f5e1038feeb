"""Persona tokens: random, shown once, kept as a digest, expiring, revocable at any moment."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pydantic import SecretStr

from scale_mcp.hosting.clock import Clock, stamp, utc_now
from scale_mcp.hosting.ids import new_id
from scale_mcp.hosting.persona_store import PersonaError, changing, persona_named
from scale_mcp.hosting.persona_tables import personas, tokens

if TYPE_CHECKING:
    from scale_mcp.hosting.audit.recording import Recording
    from scale_mcp.hosting.store import Database

PREFIX = "smcp_"
FORM = re.compile(r"smcp_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class TokenRecord:
    """What is known of a token. Times are UTC text as ``clock.stamp`` writes it; None: it does not end, or was not
    revoked."""

    id: str
    persona: str
    label: str
    user: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None


def digest(token: str) -> str:
    """What is stored instead of a token. Any text has one, so looking up nonsense costs what a real look-up costs."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Tokens:
    """Issues, lists and revokes tokens. Every change is in the audit trail, in the same transaction."""

    def __init__(self, database: Database, recorder: Recording, clock: Clock = utc_now) -> None:
        self._database = database
        self._recorder = recorder
        self._clock = clock

    async def issue(
        self, persona: str, *, label: str = "", user: str = "", expires_in: timedelta | None = None, actor: str
    ) -> tuple[TokenRecord, SecretStr]:
        """A new token of the persona of this name or id, and its record. Nothing can show the token again.

        ``user`` is who calls with it, as the audit trail will name them; the persona's name when empty. Raises
        ``PersonaError`` for an unknown persona and a time that is over already.
        """
        if expires_in is not None and expires_in <= timedelta(0):
            raise PersonaError("The token would be expired from the start; give it a time to live above zero.")
        secret = PREFIX + secrets.token_urlsafe(32)
        now = self._clock()
        async with changing(self._database) as connection:
            owner = await persona_named(connection, persona)
            record = TokenRecord(
                id=new_id("tok"),
                persona=owner.name,
                label=label,
                user=user or owner.name,
                created_at=stamp(now),
                expires_at=stamp(now + expires_in) if expires_in is not None else None,
                revoked_at=None,
            )
            await connection.execute(
                sa.insert(tokens).values(
                    id=record.id,
                    persona_id=owner.id,
                    digest=digest(secret),
                    label=record.label,
                    user_name=record.user,
                    created_at=record.created_at,
                    expires_at=record.expires_at,
                )
            )
            await self._changed(connection, "token.issued", actor, record)
        return record, SecretStr(secret)

    async def list(self, persona: str | None = None) -> list[TokenRecord]:
        """All tokens, or those of one persona, the oldest first; ended ones included."""
        query = _records().order_by(tokens.c.created_at, tokens.c.id)
        async with self._database.reading() as connection:
            if persona is not None:
                query = query.where(tokens.c.persona_id == (await persona_named(connection, persona)).id)
            return [TokenRecord(**row) for row in (await connection.execute(query)).mappings()]

    async def revoke(self, token_id: str, *, actor: str) -> TokenRecord:
        """End a token: no replica accepts it on any later call. Revoking it again changes nothing.

        Raises ``PersonaError`` for an id that no token has.
        """
        async with changing(self._database) as connection:
            record = await _record(connection, token_id)
            if record.revoked_at is None:
                await connection.execute(
                    sa.update(tokens).where(tokens.c.id == token_id).values(revoked_at=stamp(self._clock()))
                )
                record = await _record(connection, token_id)
                await self._changed(connection, "token.revoked", actor, record)
        return record

    async def _changed(self, connection: Any, kind: str, actor: str, record: TokenRecord) -> None:
        await self._database.changed(connection)
        content = {
            "actor": actor,
            "persona": record.persona,
            "token": record.id,
            "label": record.label,
            "user": record.user,
            "expires_at": record.expires_at,
        }
        await self._recorder.append(kind, content, connection=connection)


def _records() -> sa.Select[Any]:
    return sa.select(
        tokens.c.id,
        personas.c.name.label("persona"),
        tokens.c.label,
        tokens.c.user_name.label("user"),
        tokens.c.created_at,
        tokens.c.expires_at,
        tokens.c.revoked_at,
    ).join_from(tokens, personas)


async def _record(connection: Any, token_id: str) -> TokenRecord:
    row = (await connection.execute(_records().where(tokens.c.id == token_id))).mappings().one_or_none()
    if row is None:
        raise PersonaError(f"There is no token {token_id[:80]!r}. `scale-mcp persona show NAME` lists a persona's.")
    return TokenRecord(**row)
