"""MCP clients without an SDK, so that the servers are measured and not a client: stdio, /mcp and /sse, both eras."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from _common import ROOT

LEGACY, MODERN = "2025-11-25", "2026-07-28"
ME = {"name": "bench", "version": "1"}
INITIALIZE = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": ME}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": ME,
}
JSON_TYPE = "Content-Type: application/json\r\n"
LONGEST = 64 * 1024 * 1024


def line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def request(number: int, method: str, params: Mapping[str, Any] | None = None, era: str = LEGACY) -> dict[str, Any]:
    given = dict(params or {})
    if era == MODERN:
        given["_meta"] = ENVELOPE
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": given}


def failed(answer: Mapping[str, Any]) -> bool:
    return "error" in answer or bool(answer["result"].get("isError"))


class Spawned:
    """A stdio server as a host starts it, driven without asyncio: for the time from nothing to the first answers."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.began = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, cwd=ROOT
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._ids = itertools.count(1)
        self._rest = b""

    def send(self, message: Mapping[str, Any]) -> None:
        os.write(self._in, line(message))

    def ask(self, method: str, params: Mapping[str, Any] | None = None, era: str = LEGACY) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        number = next(self._ids)
        self.send(request(number, method, params, era))
        while True:
            while b"\n" not in self._rest:
                chunk = os.read(self._out, 1 << 20)
                if not chunk:
                    raise RuntimeError(f"{self._process.args!r} ended without an answer to {method}")
                self._rest += chunk
            first, _, self._rest = self._rest.partition(b"\n")
            answer: dict[str, Any] = json.loads(first)
            if answer.get("id") == number and "method" not in answer:
                return answer

    def handshake(self) -> None:
        self.ask("initialize", INITIALIZE)
        self.send(INITIALIZED)

    def since_spawn(self) -> float:
        return time.perf_counter() - self.began

    def resident(self) -> float:
        """MiB of memory, where Linux tells."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
            kib = next(int(entry.split()[1]) for entry in status if entry.startswith("VmRSS"))
        except (OSError, StopIteration):
            return float("nan")
        return kib / 1024

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


Ask = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]


class Door:
    """One connection to a running server, over which many requests may be under way."""

    def __init__(self, era: str) -> None:
        self.era = era
        self.ids = itertools.count(1)
        self.waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    def expect(self) -> tuple[int, asyncio.Future[dict[str, Any]]]:
        number = next(self.ids)
        self.waiting[number] = asyncio.get_running_loop().create_future()
        return number, self.waiting[number]

    def arrived(self, raw: bytes) -> None:
        message = json.loads(raw)
        if "method" not in message and (future := self.waiting.pop(message.get("id"), None)):
            future.set_result(message)

    async def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return await self.ask("tools/call", {"name": tool, "arguments": arguments})

    async def close(self) -> None:
        raise NotImplementedError


class Stdio(Door):
    """A server's stdin and stdout."""

    @classmethod
    async def open(cls, command: Sequence[str], env: Mapping[str, str], era: str = LEGACY) -> Stdio:
        door = cls(era)
        door.process = await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            cwd=ROOT,
            limit=LONGEST,
        )
        door.reader = asyncio.create_task(door._read())
        if era == LEGACY:
            await door.ask("initialize", INITIALIZE)
            door._write(line(INITIALIZED))
        return door

    process: asyncio.subprocess.Process
    reader: asyncio.Task[None]

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while raw := await self.process.stdout.readline():
            self.arrived(raw)
        for future in self.waiting.values():
            future.set_exception(RuntimeError("the server ended"))

    async def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        number, future = self.expect()
        self._write(line(request(number, method, params, self.era)))
        return await future

    async def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), 10)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        await self.reader


class RawHttp:
    """HTTP/1.1 over kept-alive connections, as many as requests are under way; each response's body is read whole."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, method: str, path: str, body: bytes, headers: str) -> tuple[int, dict[str, str], bytes]:
        if self.idle:
            reader, writer = self.idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self.host, self.port, limit=LONGEST)
        host = f"Host: {self.host}:{self.port}"
        head = f"{method} {path} HTTP/1.1\r\n{host}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        status, fields = await read_head(reader)
        content = await read_body(reader, fields)
        if fields.get("connection", "").lower() == "close":
            writer.close()
        else:
            self.idle.append((reader, writer))
        return status, fields, content

    def close(self) -> None:
        for _, writer in self.idle:
            writer.close()


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = dict(entry.split(": ", 1) for entry in head[1:] if ": " in entry)
    return int(head[0].split(" ")[1]), {name.lower(): value for name, value in fields.items()}


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    """One chunk of a chunked body, b"" at its end."""
    size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
    return (await reader.readexactly(size + 2))[:-2]


async def read_body(reader: asyncio.StreamReader, fields: Mapping[str, str]) -> bytes:
    if "chunked" in fields.get("transfer-encoding", ""):
        pieces = []
        while piece := await read_chunk(reader):
            pieces.append(piece)
        return b"".join(pieces)
    return await reader.readexactly(int(fields.get("content-length", 0)))


class StreamableHttp(Door):
    """``/mcp``: a POST per request; the answer is JSON, or the one event of a short stream."""

    @classmethod
    async def open(cls, base: str, era: str = LEGACY) -> StreamableHttp:
        door = cls(era)
        door.http, door.session = RawHttp(base), ""
        if era == LEGACY:
            status, fields, body = await door._post(line(request(next(door.ids), "initialize", INITIALIZE)), "")
            if status != 200:
                raise RuntimeError(f"initialize over /mcp: {status} {body[:200]!r}")
            session = fields.get("mcp-session-id")
            door.session = f"Mcp-Session-Id: {session}\r\n" if session else ""
            await door._post(line(INITIALIZED), "")
        return door

    http: RawHttp
    session: str

    async def _post(self, message: bytes, routing: str) -> tuple[int, dict[str, str], bytes]:
        fixed = (
            f"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
            f"MCP-Protocol-Version: {self.era}\r\n"
        )
        return await self.http.send("POST", "/mcp", message, fixed + self.session + routing)

    async def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        number = next(self.ids)
        routing = f"Mcp-Method: {method}\r\n" if self.era == MODERN else ""
        if self.era == MODERN and "name" in params:
            routing += f"Mcp-Name: {params['name']}\r\n"
        message = line(request(number, method, params, self.era))
        status, fields, body = await self._post(message, routing)
        if "event-stream" in fields.get("content-type", ""):
            events = [entry[5:] for entry in body.splitlines() if entry.startswith(b"data:") and entry[5:].strip()]
            answers = [json.loads(event) for event in events]
            return next(answer for answer in answers if answer.get("id") == number)
        if status != 200:
            raise RuntimeError(f"{method} over /mcp: {status} {body[:200]!r}")
        answer: dict[str, Any] = json.loads(body)
        return answer

    async def close(self) -> None:
        self.http.close()


class Sse(Door):
    """``/sse``: requests are posted, answers come on one long stream."""

    @classmethod
    async def open(cls, base: str, era: str = LEGACY) -> Sse:
        door = cls(era)
        door.http = RawHttp(base)
        door.endpoint = asyncio.get_running_loop().create_future()
        door.reader = asyncio.create_task(door._read())
        await door.endpoint
        if era == LEGACY:
            await door.ask("initialize", INITIALIZE)
            await door._post(line(INITIALIZED))
        return door

    http: RawHttp
    endpoint: asyncio.Future[str]
    reader: asyncio.Task[None]

    async def _read(self) -> None:
        reader, writer = await asyncio.open_connection(self.http.host, self.http.port, limit=LONGEST)
        host = f"Host: {self.http.host}:{self.http.port}"
        writer.write(f"GET /sse HTTP/1.1\r\n{host}\r\nAccept: text/event-stream\r\n\r\n".encode())
        await read_head(reader)
        rest = b""
        try:
            while piece := await read_chunk(reader):
                rest += piece.replace(b"\r\n", b"\n")
                while b"\n\n" in rest:
                    event, _, rest = rest.partition(b"\n\n")
                    self._event(event)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    def _event(self, event: bytes) -> None:
        fields = dict(entry.split(b": ", 1) for entry in event.split(b"\n") if b": " in entry and entry[:1] != b":")
        if fields.get(b"event") == b"endpoint":
            self.endpoint.set_result(fields[b"data"].decode())
        elif b"data" in fields:
            self.arrived(fields[b"data"])

    async def _post(self, message: bytes) -> None:
        status, _, body = await self.http.send("POST", self.endpoint.result(), message, JSON_TYPE)
        if status >= 300:
            raise RuntimeError(f"a message over /sse: {status} {body[:200]!r}")

    async def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        number, future = self.expect()
        await self._post(line(request(number, method, params, self.era)))
        return await future

    async def close(self) -> None:
        self.reader.cancel()
        await asyncio.gather(self.reader, return_exceptions=True)
        self.http.close()


async def load(do: Callable[[], Awaitable[Any]], total: int, width: int) -> tuple[float, list[float]]:
    """Run ``do`` ``total`` times, ``width`` of them at once. Gives the seconds of the whole and of each."""
    left = iter(range(total))
    latencies: list[float] = []

    async def worker() -> None:
        for _ in left:
            began = time.perf_counter()
            await do()
            latencies.append(time.perf_counter() - began)

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(min(width, total))))
    return time.perf_counter() - started, latencies
