"""Connections to an SQLite file whose every statement is one trip to the connection's thread.

The driver makes four of a query: for a cursor, the statement, its rows and the end of the cursor. Each costs more than
SQLite itself takes for most of what is asked here, and a call of a persona asks a dozen times.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from functools import partial
from threading import Thread
from typing import Any

import aiosqlite
import anyio
import anyio.to_thread

LAST_WAIT = 3.0  # seconds
ROWS_AHEAD = 64  # of aiosqlite's own cursors, which nobody uses


class FileOpener:
    """Opens connections to a file, and knows the thread of each."""

    def __init__(self) -> None:
        self._threads: list[Thread] = []

    def __call__(self, *place: Any, **options: Any) -> FileConnection:
        """A connection as SQLAlchemy's driver asks for it; it is open once it was awaited."""
        connection = FileConnection(partial(sqlite3.connect, *place, **options), ROWS_AHEAD)
        thread: Thread = getattr(connection, "_thread", connection)  # type: ignore[arg-type]  # it was one itself once
        thread.daemon = True  # a statement that never ends does not keep the process
        self._threads = [each for each in self._threads if each.is_alive() or each.ident is None]
        self._threads.append(thread)
        return connection

    async def ended(self) -> None:
        """Wait a moment for those that were told to stop in the middle of a statement: nobody waits for them else, and
        they would report to an event loop that is not there any more."""
        with anyio.move_on_after(LAST_WAIT, shield=True):
            for thread in self._threads:
                if thread.is_alive():
                    await anyio.to_thread.run_sync(thread.join, LAST_WAIT, abandon_on_cancel=True)


class FileConnection(aiosqlite.Connection):
    """An aiosqlite connection with cursors of our own, which may be told to stop more than once.

    Whoever is cancelled while waiting for another writer tells it twice. Its thread answers the first time only, and
    the second one would be waited for without end, also at the end of the process.
    """

    _told_to_stop = False
    _certain = True  # the last thing that was asked of the thread has come to its end, and its end was seen

    def stop(self) -> Any:
        if self._told_to_stop:
            return None
        self._told_to_stop = True
        return super().stop()

    def cursor(self) -> Any:
        return FileCursor(self)

    async def rollback(self) -> None:
        """Undo the transaction; where there certainly is none, nobody is asked."""
        if not self._certain or self._conn.in_transaction:
            await super().rollback()

    async def _execute(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        self._certain = False
        try:
            done = await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        except Exception:
            self._certain = True
            raise
        self._certain = True  # not after a cancellation: then the thread may still be at it
        return done


class FileCursor:
    """Runs one statement, and holds all of its rows."""

    def __init__(self, connection: FileConnection) -> None:
        self._connection = connection
        self._rows: deque[Any] = deque()
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> FileCursor:
        return self

    def __await__(self) -> Generator[Any, None, FileCursor]:
        """Older SQLAlchemys wait for a cursor."""
        return self.__aenter__().__await__()

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> FileCursor:
        await self._connection._execute(self._run, "execute", statement, parameters)
        return self

    async def executemany(self, statement: str, parameters: Iterable[Sequence[Any]]) -> FileCursor:
        await self._connection._execute(self._run, "executemany", statement, parameters)
        return self

    async def fetchone(self) -> Any:
        return self._rows.popleft() if self._rows else None

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        return [self._rows.popleft() for _ in range(min(size or self.arraysize, len(self._rows)))]

    async def fetchall(self) -> list[Any]:
        return await self.fetchmany(len(self._rows) or 1)

    async def close(self) -> None:
        self._rows.clear()

    def _run(self, how: str, statement: str, parameters: Any) -> None:
        """In the connection's thread."""
        cursor = getattr(self._connection._conn, how)(statement, parameters)
        try:
            self._rows = deque(cursor.fetchall() if cursor.description else ())
            self.description, self.rowcount, self.lastrowid = cursor.description, cursor.rowcount, cursor.lastrowid
        finally:
            cursor.close()
