"""A receiver of Scale's callbacks on this machine, as anybody would run one: check the header, answer, remember."""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import anyio

from scale_mcp.cli.loopback import serving

Message = MutableMapping[str, Any]
HEADER = b"scale-callback-auth"


class Receiver:
    """What arrived, and ways to wait for it. ``refused`` counts requests with a wrong or missing header."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._news = anyio.Event()
        self.received: list[dict[str, Any]] = []
        self.refused = 0
        self.url = ""

    async def __call__(self, scope: Message, receive: Callable[[], Any], send: Callable[[Message], Any]) -> None:
        """The ASGI application."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status = self._take(dict(scope["headers"]).get(HEADER, b""), body)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    def _take(self, secret: bytes, body: bytes) -> int:
        if not hmac.compare_digest(secret, self._secret):
            self.refused += 1
            return 401
        try:
            self.received.append(json.loads(body))
        except ValueError:
            return 400
        self._news.set()
        self._news = anyio.Event()
        return 200

    def tasks(self) -> set[str]:
        """The ids of the tasks that were called back about."""
        return {str(body["task_id"]) for body in self.received if "task_id" in body}

    def batches(self) -> set[str]:
        """The names of the batches that were called back about."""
        return {str(body["name"]) for body in self.received if "task_id" not in body and "name" in body}

    async def news(self, seconds: float) -> None:
        """Return when something arrives, at the latest after ``seconds``."""
        with anyio.move_on_after(seconds):
            await self._news.wait()

    async def wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """Whether ``until`` became true in time; looked at whenever something arrives."""
        with anyio.move_on_after(seconds):
            while not until():
                await self._news.wait()
        return until()


@asynccontextmanager
async def listening(secret: str) -> AsyncIterator[Receiver]:
    """A receiver on a free port of this machine."""
    receiver = Receiver(secret)
    async with serving(receiver) as address:
        receiver.url = f"{address}/callback"
        yield receiver
