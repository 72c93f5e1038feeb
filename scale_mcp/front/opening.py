"""The conversation up to the first message that needs the real server.

The first request decides the era, as in the SDK: ``initialize`` makes it a legacy one, a request with the envelope
of 2026-07-28 a modern one. Only messages of exactly the expected form are answered; any other, and silence after
the tool list, ends the front.
"""

from __future__ import annotations

import json
import os
from select import select

from scale_mcp.front.answers import Answers
from scale_mcp.front.handover import Handover

LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = "2026-07-28"
ENVELOPE = "io.modelcontextprotocol/"
AFTER_THE_LIST = 0.02  # seconds of silence after which a host has what it wants: time to load the server
AT_ANY_TIME = 1.0
LARGEST_ID = 2**53
CHUNK = 1 << 16


class _NotOurs(Exception):
    """The message is for the real server."""


def converse(source: int, sink: int, answers: Answers) -> Handover | None:
    """Answer until the real server is needed. None when the client has closed its end."""
    return _Conversation(source, sink, answers).run()


class _Conversation:
    def __init__(self, source: int, sink: int, answers: Answers) -> None:
        self._source, self._sink, self._answers = source, sink, answers
        self._era = ""
        self._replay: list[bytes] = []  # what puts the real server into the state that the client knows
        self._answered: list[str | int] = []
        self._unread = b""

    def run(self) -> Handover | None:
        patience = AT_ANY_TIME
        while True:
            line, newline, rest = self._unread.partition(b"\n")
            if not newline:
                if not select([self._source], [], [], patience)[0]:
                    return self._handover()
                chunk = os.read(self._source, CHUNK)
                if chunk:
                    self._unread += chunk
                elif self._unread.strip():
                    return self._handover()
                else:
                    return None
            elif not line.strip():
                self._unread = rest
            else:
                try:
                    patience = self._serve(line)
                except (_NotOurs, ValueError, RecursionError):
                    return self._handover()
                self._unread = rest

    def _handover(self) -> Handover:
        return Handover(self._source, self._sink, b"".join(self._replay) + self._unread, self._answered)

    def _serve(self, line: bytes) -> float:
        """Answer one message; how long to wait for the next. Raises for whatever is not ours, before answering."""
        if not line.startswith(b"{") or b"\\u" in line:
            raise _NotOurs
        message = json.loads(line, parse_constant=_refuse, object_pairs_hook=_without_repeats)
        if message.pop("jsonrpc", None) != "2.0":
            raise _NotOurs
        method = message.pop("method", None)
        params = message.pop("params", None)
        params = {} if params is None else params
        if method == "notifications/initialized" and self._era == "legacy" and params == {}:
            _nothing_left(message)
            self._replay.append(line + b"\n")
            return AT_ANY_TIME
        identity = message.pop("id", None)
        _nothing_left(message)
        if type(identity) not in (int, str) or (type(identity) is int and abs(identity) > LARGEST_ID):
            raise _NotOurs
        result = self._result(method, params)
        if not self._answered:  # the request that decided the era
            self._replay.append(line + b"\n")
            self._answered.append(identity)
        shown = json.dumps(identity, ensure_ascii=False).encode()
        self._write(b'{"jsonrpc":"2.0","id":' + shown + b',"result":' + result + b"}\n")
        return AFTER_THE_LIST if method == "tools/list" else AT_ANY_TIME

    def _result(self, method: object, params: dict[str, object]) -> bytes:
        if type(params) is not dict:
            raise _NotOurs
        if method == "initialize" and not self._era:
            version = _check_initialize(params)
            self._era = "legacy"
            head, tail = self._answers.hello
            return head + version.encode() + tail
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
        if method not in known:
            raise _NotOurs
        self._era = self._era or "modern"
        return known[method]

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._sink, view) :]


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
    if not set(client) <= {"name", "version", "title", "description"}:
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
        elif name in ("sampling", "elicitation"):
            fine = set(value) <= {"form", "url", "tools", "context"} and not any(value.values())
            fine = fine and all(type(part) is dict for part in value.values())
        else:
            fine = name in ("experimental", "extensions") and all(type(part) is dict for part in value.values())
        if not fine:
            raise _NotOurs


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
