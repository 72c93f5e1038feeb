"""The conversation up to the first message that needs the real server.

The first request decides the era, as in the SDK: ``initialize`` makes it a legacy one, a request with the envelope
of 2026-07-28 a modern one. Only messages of exactly the expected form are answered; any other, and silence after
the tool list, ends the front.
"""

from __future__ import annotations

import json
import os
import select

from scale_mcp.front.answers import Answers
from scale_mcp.front.handover import Handover

LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = "2026-07-28"
ENVELOPE = "io.modelcontextprotocol/"
AFTER_THE_LIST = 0.02  # seconds of silence after which a host has what it wants: time to load the server
AT_ANY_TIME = 1.0
LARGEST_ID = 2**53
CHUNK = 1 << 16
LONGEST_LINE = 1 << 16  # bytes; opening messages are short
READ_AHEAD = 1 << 24  # bytes a client may send on while it does not read
SMALL_PIECE = 4096  # bytes that a wire which is ready takes without blocking (PIPE_BUF)

# Puts the server into the modern era; every modern request says the rest itself.
NO_CLIENT_USES = "scale-mcp/front"
MODERN_REPLAY = b"""{"jsonrpc":"2.0","id":"scale-mcp/front","method":"server/discover","params":{"_meta":{\
"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}
"""


class _NotOurs(Exception):
    """The message is for the real server."""


class _Silence(Exception):
    """The client has what it wants for now."""


def converse(source: int, sink: int, answers: Answers) -> Handover | None:
    """Answer until the real server is needed. None when the client has closed its end."""
    return _Conversation(source, sink, answers).run()


class _Conversation:
    def __init__(self, source: int, sink: int, answers: Answers) -> None:
        self._source, self._sink, self._answers = source, sink, answers
        self._era = ""
        self._replay: list[bytes] = []  # what puts the real server into the state that the client knows
        self._answered: list[str | int] = []  # the ids in there
        self._unread = bytearray()
        self._ended = False
        self._patience = AT_ANY_TIME

    def run(self) -> Handover | None:
        try:
            while (line := self._next_line()) is not None:
                if line.strip():
                    self._serve(line)
                del self._unread[: len(line) + 1]
        except (_NotOurs, ValueError, RecursionError, OSError):  # OSError: the wire is broken
            return self._handover()
        except _Silence:
            return self._handover(awaited=False)
        return self._handover() if self._unread.strip() else None

    def _handover(self, *, awaited: bool = True) -> Handover:
        unserved = b"".join(self._replay) + bytes(self._unread)
        return Handover(self._source, self._sink, unserved, self._answered, awaited=awaited)

    def _next_line(self) -> bytes | None:
        """The next line, which stays in ``_unread`` until it is served; None at the end of input."""
        waiting = select.poll()
        waiting.register(self._source, select.POLLIN)
        while (end := self._unread.find(b"\n")) < 0:
            if self._ended:
                return None
            if len(self._unread) > LONGEST_LINE:
                raise _NotOurs
            if not waiting.poll(self._patience * 1000):
                raise _Silence
            self._read()
        return bytes(self._unread[:end])

    def _read(self) -> None:
        try:
            chunk = os.read(self._source, CHUNK)
        except BlockingIOError:
            return
        self._unread += chunk
        self._ended = not chunk

    def _serve(self, line: bytes) -> None:
        """Answer one message. Raises for whatever is not ours, before answering."""
        if not line.startswith(b"{") or b"\\u" in line:
            raise _NotOurs
        message = json.loads(line.decode(), parse_constant=_refuse, object_pairs_hook=_without_repeats)
        if message.pop("jsonrpc", None) != "2.0":
            raise _NotOurs
        method = message.pop("method", None)
        params = message.pop("params", None)
        params = {} if params is None else params
        if method == "notifications/initialized" and self._era == "legacy" and params == {}:
            _nothing_left(message)
            self._replay.append(line + b"\n")
            return
        identity = message.pop("id", None)
        _nothing_left(message)
        if type(identity) not in (int, str) or (type(identity) is int and abs(identity) > LARGEST_ID):
            raise _NotOurs
        result, era = self._result(method, params)
        shown = json.dumps(identity, ensure_ascii=False).encode()
        self._write(b'{"jsonrpc":"2.0","id":' + shown + b',"result":' + result + b"}\n")
        if not self._era:
            self._era = era
            self._replay.append(line + b"\n" if era == "legacy" else MODERN_REPLAY)
            self._answered.append(identity if era == "legacy" else NO_CLIENT_USES)
        if method == "tools/list":
            self._patience = AFTER_THE_LIST

    def _result(self, method: object, params: dict[str, object]) -> tuple[bytes, str]:
        """The result, and the era that such a request belongs to."""
        if type(params) is not dict:
            raise _NotOurs
        if method == "initialize" and not self._era:
            head, tail = self._answers.hello
            return head + _check_initialize(params).encode() + tail, "legacy"
        meta = params.pop("_meta", {})
        _nothing_left(params)  # no cursor, no argument of any kind
        if type(meta) is not dict:
            raise _NotOurs
        if type(meta.pop("progressToken", "")) not in (int, str):
            raise _NotOurs
        if self._era == "legacy":
            _nothing_left(meta)
            known = self._answers.legacy
        else:
            _check_envelope(meta)
            known = self._answers.modern
        if type(method) is not str or method not in known:
            raise _NotOurs
        return known[method], self._era or "modern"

    def _write(self, data: bytes) -> None:
        """Without ever blocking: a client may write on before it reads, so what it sends is taken meanwhile."""
        waiting = select.poll()
        waiting.register(self._sink, select.POLLOUT)
        waiting.register(self._source, select.POLLIN)
        reading = True
        view = memoryview(data)
        while view:
            if reading and (self._ended or len(self._unread) > READ_AHEAD):
                reading = False
                waiting.unregister(self._source)
            for descriptor, _ in waiting.poll():
                if descriptor == self._source:
                    self._read()
                    continue
                try:
                    view = view[os.write(self._sink, view[:SMALL_PIECE]) :]
                except BlockingIOError:
                    continue


def _check_initialize(params: dict[str, object]) -> str:
    """The version to answer with."""
    version = params.pop("protocolVersion", None)
    if type(version) is not str:
        raise _NotOurs
    _check_capabilities(params.pop("capabilities", None))
    _check_client(params.pop("clientInfo", None))
    _nothing_left(params)
    return version if version in LEGACY else LEGACY[-1]


def _check_envelope(meta: dict[str, object]) -> None:
    if meta.pop(ENVELOPE + "protocolVersion", None) != MODERN:
        raise _NotOurs
    _check_capabilities(meta.pop(ENVELOPE + "clientCapabilities", None))
    if ENVELOPE + "clientInfo" in meta:
        _check_client(meta.pop(ENVELOPE + "clientInfo"))
    _nothing_left(meta)


def _check_client(client: object) -> None:
    """Name and version, and perhaps texts about the client."""
    if type(client) is not dict or not {"name", "version"} <= set(client):
        raise _NotOurs
    if not set(client) <= {"name", "version", "title", "description", "websiteUrl"}:
        raise _NotOurs
    if any(type(text) is not str for text in client.values()):
        raise _NotOurs


def _check_capabilities(capabilities: object) -> None:
    """What clients declare today; a stranger declaration is for the SDK to judge."""
    if type(capabilities) is not dict:
        raise _NotOurs
    for name, value in capabilities.items():
        if type(value) is not dict:
            raise _NotOurs
        if name == "roots":
            fine = set(value) <= {"listChanged"} and all(type(flag) is bool for flag in value.values())
        elif name == "tasks":
            fine = _only_objects(value)
        else:
            fine = name in ("sampling", "elicitation", "experimental", "extensions")
            fine = fine and all(type(part) is dict for part in value.values())
        if not fine:
            raise _NotOurs


def _only_objects(value: object) -> bool:
    return type(value) is dict and all(_only_objects(part) for part in value.values())


def _nothing_left(rest: dict[str, object]) -> None:
    if rest:
        raise _NotOurs


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _NotOurs
    return found


def _refuse(name: str) -> None:
    raise _NotOurs
