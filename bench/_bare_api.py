"""Scale's API reduced to what a measurement of clients needs: a bare asyncio server that answers after a set time.

    python bench/_bare_api.py PORT

``POST /v1/task/<type>`` creates, ``GET /v1/task/<id>`` and ``GET /v1/tasks?unique_id=`` find, ``POST /_bench`` with
``{"latency": seconds, "faults": share, "seed": n}`` empties and sets it, ``GET /_bench`` counts. A ``unique_id`` that
is taken is refused with 409. A share of the creates meets a fault, in equal parts: 429 with ``Retry-After: 1``, a 503,
a 500 after the task was made, a connection dropped before and one dropped after the task was made.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

CREATED = (
    '{"task_id":"%s","created_at":"2026-01-05T10:00:00.000Z","type":"%s","status":"pending",'
    '%s"is_test":false,"urgency":"standard"}'
)
FAULTS = ("rate_limit", "unavailable", "error_after", "drop_before", "drop_after")
STATUS = {200: "OK", 404: "Not Found", 409: "Conflict", 429: "Too Many Requests", 500: "Error", 503: "Unavailable"}


class Api:
    """The state of the server."""

    def __init__(self) -> None:
        self.configure({})

    def configure(self, wanted: dict[str, Any]) -> None:
        self.latency = float(wanted.get("latency", 0))
        self.share = float(wanted.get("faults", 0))
        self.dice = random.Random(wanted.get("seed", 0))
        self.task = wanted.get("task")  # what GET /v1/task/… answers for a task that was not created here
        self.tasks: dict[str, str] = {}
        self.unique: dict[str, str] = {}
        self.counts = dict.fromkeys(("requests", "conflicts", *FAULTS), 0)

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, str, str] | None:
        """Status, further header lines and body; None for a connection that drops."""
        self.counts["requests"] += 1
        path, _, query = target.partition("?")
        if method == "POST":
            return self.create(path.rpartition("/")[2], json.loads(body))
        if path == "/v1/tasks":
            wanted = query.partition("unique_id=")[2].partition("&")[0]
            found = [self.tasks[self.unique[wanted]]] if wanted in self.unique else []
            return (
                200,
                "",
                f'{{"docs":[{",".join(found)}],"total":{len(found)},"limit":100,"offset":0,"has_more":false}}',
            )
        task = self.tasks.get(path.rpartition("/")[2]) or self.task
        return (200, "", task) if task else (404, "", '{"status_code":404,"error":"There is no task with that id."}')

    def create(self, kind: str, body: dict[str, Any]) -> tuple[int, str, str] | None:
        fault = self.dice.choice(FAULTS) if self.share and self.dice.random() < self.share else None
        if fault is not None:
            self.counts[fault] += 1
        if fault == "rate_limit":
            return 429, "Retry-After: 1\r\n", '{"status_code":429,"error":"Too many requests"}'
        if fault == "unavailable":
            return 503, "", '{"status_code":503,"error":"Service unavailable"}'
        if fault == "drop_before":
            return None
        unique_id = body.get("unique_id")
        if unique_id in self.unique:
            self.counts["conflicts"] += 1
            return 409, "", '{"status_code":409,"error":"There is already a task with that unique_id."}'
        task_id = f"{len(self.tasks):024x}"
        parts = {
            name: value for name, value in body.items() if name in ("unique_id", "project", "instruction", "metadata")
        }
        parts["params"] = {name: value for name, value in body.items() if name not in parts}
        task = CREATED % (task_id, kind, json.dumps(parts, separators=(",", ":"))[1:-1] + ",")
        self.tasks[task_id] = task
        if unique_id:
            self.unique[unique_id] = task_id
        if fault == "drop_after":
            return None
        if fault == "error_after":
            return 500, "", '{"status_code":500,"error":"Internal error"}'
        return 200, "", task

    def bench(self, method: str, body: bytes) -> str:
        if method == "POST":
            self.configure(json.loads(body))
        return json.dumps({**self.counts, "stored": len(self.tasks)})


class Connection(asyncio.Protocol):
    """HTTP/1.1 as far as these clients speak it: Content-Length, keep-alive, one request at a time."""

    def __init__(self, api: Api, loop: asyncio.AbstractEventLoop) -> None:
        self.api, self.loop = api, loop
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            lower = head.lower()
            at = lower.find(b"\r\ncontent-length:")
            length = int(lower[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            self.serve(method, target, body)

    def serve(self, method: str, target: str, body: bytes) -> None:
        if target == "/_bench":
            self.send((200, "", self.api.bench(method, body)))
            return
        reply = self.api.answer(method, target, body)
        if self.api.latency:
            self.loop.call_later(self.api.latency, self.send, reply)
        else:
            self.send(reply)

    def send(self, reply: tuple[int, str, str] | None) -> None:
        if self.transport.is_closing():
            return
        if reply is None:
            self.transport.abort()
            return
        status, headers, text = reply
        body = text.encode()
        head = f"HTTP/1.1 {status} {STATUS[status]}\r\nContent-Type: application/json\r\n{headers}"
        self.transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    api = Api()
    server = await loop.create_server(lambda: Connection(api, loop), "127.0.0.1", port, backlog=2048)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        import uvloop  # where the environment has it: the server is to be no bottleneck
    except ImportError:
        asyncio.run(main(int(sys.argv[1])))
    else:
        uvloop.run(main(int(sys.argv[1])))
