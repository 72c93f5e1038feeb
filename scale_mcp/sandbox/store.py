"""The sandbox's memory: one SQLite connection, shared by every area through a few small helpers.

Every area declares its own tables (see schema.py). All calls are synchronous and short; a transaction must never
contain an ``await``, since other requests run meanwhile on the same connection.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

Arguments = Sequence[Any] | Mapping[str, Any]

SCHEMA_VERSION = 2


class StoreError(Exception):
    """The database file cannot be used; the text says why and what to do."""


class Store:
    """A SQLite database in memory (``:memory:``) or in a file (write-ahead log, survives a kill)."""

    def __init__(self, path: str, schema: Iterable[str] = ()) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._depth = 0
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        except sqlite3.Error as error:
            raise StoreError(f"The sandbox cannot open its database {path!r}: {error}.") from error
        try:
            self._prepare(schema)
        except sqlite3.Error as error:
            self.close()
            raise StoreError(f"The sandbox cannot use its database {path!r}: {error}.") from error
        except StoreError:
            self.close()
            raise

    def _prepare(self, schema: Iterable[str]) -> None:
        connection = self._connection
        connection.row_factory = sqlite3.Row
        if self.path != ":memory:":
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA journal_size_limit = {64 * 2**20}")  # a large seed leaves no large log behind
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -65536")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            age = "a newer" if version > SCHEMA_VERSION else "an older"
            raise StoreError(f"The sandbox's database {self.path!r} was written by {age} version of scale-mcp.")
        for script in schema:
            connection.executescript(script)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def execute(self, sql: str, args: Arguments = ()) -> sqlite3.Cursor:
        """Run one statement; outside of a transaction it is committed at once."""
        with self._lock:
            return self._connection.execute(sql, args)

    def execute_many(self, sql: str, rows: Iterable[Arguments]) -> sqlite3.Cursor:
        with self._lock:
            return self._connection.executemany(sql, rows)

    def query(self, sql: str, args: Arguments = ()) -> list[sqlite3.Row]:
        """All rows. Columns are read by name: ``row["status"]``."""
        with self._lock:
            return self._connection.execute(sql, args).fetchall()

    def one(self, sql: str, args: Arguments = ()) -> sqlite3.Row | None:
        with self._lock:
            row: sqlite3.Row | None = self._connection.execute(sql, args).fetchone()
            return row

    def value(self, sql: str, args: Arguments = ()) -> Any:
        """The first column of the first row, or None."""
        row = self.one(sql, args)
        return None if row is None else row[0]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Nests: an inner one that fails undoes only itself. No ``await`` inside."""
        with self._lock:
            name = f"nested_{self._depth}"
            self._connection.execute("BEGIN IMMEDIATE" if self._depth == 0 else f"SAVEPOINT {name}")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._connection.execute("ROLLBACK")
                else:
                    self._connection.execute(f"ROLLBACK TO {name}")
                    self._connection.execute(f"RELEASE {name}")
                raise
            self._depth -= 1
            self._connection.execute("COMMIT" if self._depth == 0 else f"RELEASE {name}")

    def plan(self, sql: str, args: Arguments = ()) -> list[str]:
        """How SQLite would answer: the lines of EXPLAIN QUERY PLAN, for tests that forbid full scans."""
        return [str(row["detail"]) for row in self.query(f"EXPLAIN QUERY PLAN {sql}", args)]

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def dumps(value: Any) -> str:
    """Compact JSON for a column."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
