"""Wakes a waiting task of this process. Ringing is remembered until somebody has waited for it."""

from __future__ import annotations

import anyio


class Bell:
    """One waits, any number ring."""

    def __init__(self) -> None:
        self._rung = anyio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, seconds: float) -> bool:
        """Return at the next ring, at once when it rang before, at the latest after ``seconds``.

        Says whether it rang.
        """
        with anyio.move_on_after(seconds):
            await self._rung.wait()
        rang = self._rung.is_set()
        if rang:
            self._rung = anyio.Event()
        return rang
