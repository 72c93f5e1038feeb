"""What tests of the vault share: master keys, a trail that only remembers, and every form in which a key could leak."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection

from scale_mcp.hosting.master_key_places import VariablePlace
from scale_mcp.hosting.master_keys import MasterKey, MasterKeys
from scale_mcp.hosting.store import Database

CANARY = "live_c4n4ryXq7Zk2Vd9Lm"
SECOND = "live_s3c0ndWp5Rt8Yb1Nh"


class Trail:
    """Stands for the audit trail."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, dict[str, Any]]] = []
        self.broken = False

    async def append(self, kind: str, content: dict[str, Any], *, connection: AsyncConnection | None = None) -> int:
        if self.broken:
            raise RuntimeError("the trail cannot be written")
        assert connection is not None, "a change and its entry belong into one transaction"
        self.rows.append((kind, content))
        return len(self.rows)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.rows]


def keys_of(*keys: MasterKey) -> MasterKeys:
    return MasterKeys(VariablePlace(SecretStr(",".join(key.written.get_secret_value() for key in keys))))


def forms(secret: str) -> list[str]:
    """The secret as it could be written: plain, encoded, and every part of it that would help somebody."""
    plain = secret.encode()
    parts = [secret[start : start + 8] for start in range(5, len(secret) - 7)]
    encoded = [base64.b64encode(plain), base64.b64encode(plain + b":"), base64.urlsafe_b64encode(plain)]
    return [*parts, plain.hex(), *(text.decode().rstrip("=")[:-2] for text in encoded)]


def leaks(text: str | bytes, *secrets: str) -> list[str]:
    """What of the secrets is in the text."""
    content = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    return [form for secret in secrets for form in forms(secret) if form.encode() in content]


async def everything_in(database: Database) -> bytes:
    """All that somebody finds who takes the database: SQLite's files, or every row of PostgreSQL's tables."""
    if database.dialect == "sqlite":
        path = Path(str(database.engine.url.database))
        return b"".join(each.read_bytes() for each in sorted(path.parent.glob(f"{path.name}*")))
    async with database.reading() as connection:
        names = await connection.run_sync(lambda synchronous: sa.inspect(synchronous).get_table_names())
        rows = [
            str(text)
            for name in names
            for text in (await connection.execute(sa.text(f'SELECT CAST(t AS text) FROM "{name}" t'))).scalars()
        ]
    return "\n".join(rows).encode()
