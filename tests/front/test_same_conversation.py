"""A client cannot tell whether the front is there: every conversation gives the same messages as without it."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scale_mcp.front import opening
from scale_mcp.front.opening import MODERN_REPLAY
from tests.front.talking import QUIET, Script, Values, front_alone, with_front, without_front
from tests.front.wording import (
    CLIENT,
    ENVELOPE,
    HANDSHAKE,
    LEGACY,
    LISTS,
    META,
    READY,
    hello,
    line,
    modern,
    request,
)

FEW: Values = {"toolsets": ["team"]}  # so that the lists are short
LIST = request("tools/list")
CALL = request("tools/call", 7, name="no_such_tool", arguments={})
MODERN_CALL = modern("tools/call", 7, name="no_such_tool", arguments={})
NOISE = [b"garbage\n", b"\n", b"  \n", b"{\n", b"[]\n", b"null\n", b'"text"\n', b"\xff\xfe\n", b"\x00\n"]


def changed(message: bytes, **changes: Any) -> bytes:
    """The message with other members at its top; ``...`` leaves one out."""
    return line({name: value for name, value in {**json.loads(message), **changes}.items() if value is not ...})


def with_meta(message: bytes, **meta: Any) -> bytes:
    """A modern request whose envelope has other members; ``...`` leaves one out."""
    changes = {META + name: value for name, value in meta.items()}
    kept = {name: value for name, value in {**ENVELOPE, **changes}.items() if value is not ...}
    return changed(message, params={"_meta": kept})


WRONG_IDS = {
    "null": b"null",
    "fractional": b"1.5",
    "whole but written as a fraction": b"1.0",
    "exponent": b"1e2",
    "negative": b"-7",
    "minus nought": b"-0",
    "leading nought": b"01",
    "true": b"true",
    "huge": b"123456789012345678901234567890",
    "beyond 2**53": b"9007199254740993",
    "beyond 4300 digits": b"1" * 5000,
    "list": b"[1]",
    "object": b'{"a":1}',
    "empty text": b'""',
    "text of a number": b'"1"',
    "non-ASCII": '"Prüfung 試"'.encode(),
    "escaped": b'"\\u00e4"',
    "lone surrogate": b'"\\ud800"',
    "quote and backslash": b'"\\"\\\\"',
    "control sign": b'"\\n\\t"',
    "very long": b'"' + b"x" * 3000 + b'"',
}

SCRIPTS: dict[str, Script] = {
    "nothing": [],
    "empty lines only": [b"\n\n  \n"],
    "an unfinished blank": [b"\n  "],
    "handshake and end": [HANDSHAKE],
    "handshake and list": [HANDSHAKE, LIST],
    "every list": [HANDSHAKE, *(request(method, number) for number, method in enumerate(LISTS, 1))],
    "every modern list": [modern("server/discover", 0), *(modern(m, number) for number, m in enumerate(LISTS, 1))],
    "a modern list first": [modern("tools/list"), modern("server/discover", 2)],
    "a call after the list": [HANDSHAKE, LIST, CALL],
    "a call at once": [HANDSHAKE, CALL],
    "a call in the same breath": [HANDSHAKE + LIST + CALL + request("tools/list", 8)],
    "a modern call after the list": [modern("tools/list"), MODERN_CALL, modern("tools/list", 8)],
    "silence, then a call and another list": [HANDSHAKE, LIST, QUIET, CALL, request("tools/list", 8)],
    "modern silence, then a call": [modern("tools/list"), QUIET, MODERN_CALL, modern("tools/list", 8)],
    "list before notifications/initialized": [hello(), LIST, READY, request("ping", 2)],
    "list before initialize": [LIST, HANDSHAKE, request("tools/list", 2)],
    "ping before initialize": [request("ping"), HANDSHAKE, LIST],
    "initialized before initialize": [READY, HANDSHAKE, LIST],
    "initialized twice": [HANDSHAKE, READY, LIST, CALL],
    "a second initialize": [HANDSHAKE, hello("2025-06-18", 5), LIST],
    "a second initialize without params": [HANDSHAKE, request("initialize", 5), LIST],
    "discover on a legacy connection": [HANDSHAKE, request("server/discover", 3), LIST],
    "modern after legacy": [HANDSHAKE, modern("tools/list", 3), LIST, CALL],
    "modern before initialized": [hello(), modern("tools/list", 3), READY, LIST],
    "initialize after discover": [modern("server/discover"), hello(number=4), READY, LIST],
    "initialize after a modern list": [modern("tools/list"), hello(number=4), LIST],
    "initialize after modern silence": [modern("tools/list"), QUIET, hello(number=4), modern("tools/list", 5)],
    "ping on a modern connection": [modern("tools/list"), modern("ping", 3), request("ping", 4)],
    "no envelope on a modern connection": [modern("tools/list"), request("tools/list", 3)],
    "initialized on a modern connection": [modern("tools/list"), READY, modern("prompts/list", 3)],
    "a version of the future": [with_meta(LIST, protocolVersion="2027-01-01"), modern("tools/list", 2)],
    "an envelope of a legacy version": [with_meta(LIST, protocolVersion="2025-11-25"), modern("tools/list", 2)],
    "an envelope without capabilities": [with_meta(LIST, clientCapabilities=...), modern("tools/list", 2)],
    "an envelope without version": [with_meta(LIST, protocolVersion=...), modern("tools/list", 2)],
    "an envelope of wrong types": [with_meta(LIST, clientCapabilities=[]), with_meta(LIST, protocolVersion=7)],
    "an envelope with a client": [with_meta(LIST, clientInfo=CLIENT), MODERN_CALL],
    "an envelope with half a client": [with_meta(LIST, clientInfo={"name": "x"}), modern("tools/list", 2)],
    "an envelope with no client": [with_meta(LIST, clientInfo=None), modern("tools/list", 2)],
    "an envelope with a log level": [with_meta(LIST, logLevel="debug"), modern("tools/list", 2)],
    "a legacy connection with other meta": [HANDSHAKE, request("tools/list", 2, _meta={"x": 1}), LIST],
    "a batch": [HANDSHAKE, b"[" + LIST.strip() + b"," + CALL.strip() + b"]\n", LIST],
    "a batch first": [b"[" + hello().strip() + b"]\n", HANDSHAKE, LIST],
    "noise after the handshake": [HANDSHAKE, *NOISE, LIST, *NOISE, CALL],
    "noise first": [*NOISE, HANDSHAKE, LIST],
    "cancellation notes": [
        HANDSHAKE,
        LIST,
        line({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
        request("ping", 2),
    ],
    "a progress note": [
        HANDSHAKE,
        line({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}}),
        LIST,
    ],
    "an unknown note": [HANDSHAKE, line({"jsonrpc": "2.0", "method": "notifications/whatever"}), LIST],
    "an unknown method": [HANDSHAKE, request("tools/enlist", 3), LIST],
    "an answer that nobody asked for": [HANDSHAKE, line({"jsonrpc": "2.0", "id": 1, "result": {}}), LIST],
    "an error that nobody asked for": [
        HANDSHAKE,
        line({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "x"}}),
        LIST,
    ],
    "params null": [HANDSHAKE, changed(LIST, params=None), changed(READY, params=None), LIST],
    "params null in initialize": [changed(hello(), params=None), LIST],
    "params an array": [HANDSHAKE, changed(LIST, params=[]), LIST],
    "params an array in initialized": [hello(), changed(READY, params=[]), LIST],
    "params a text": [HANDSHAKE, changed(LIST, params="x"), LIST],
    "params nought": [HANDSHAKE, changed(LIST, params=0), changed(LIST, params=False)],
    "params with strangers": [HANDSHAKE, request("tools/list", 2, extra=1), request("ping", 3, extra=1)],
    "initialized with params": [hello(), changed(READY, params={"_meta": {}}), LIST],
    "initialized with an id": [hello(), changed(READY, id=3), LIST],
    "progress tokens": [
        HANDSHAKE,
        *(request("tools/list", n, _meta={"progressToken": token}) for n, token in enumerate(("t", 5, 0, ""), 1)),
    ],
    "wrong progress tokens": [
        HANDSHAKE,
        *(request("tools/list", n, _meta={"progressToken": t}) for n, t in enumerate((None, 1.5, True, [], {}), 1)),
    ],
    "meta null": [HANDSHAKE, changed(LIST, params={"_meta": None}), changed(LIST, params={"_meta": []}), LIST],
    "a modern progress token": [modern("tools/list", 1, {"progressToken": "t"}), modern("tools/list", 2)],
    "an unknown cursor": [HANDSHAKE, request("tools/list", 2, cursor="x"), LIST],
    "an empty cursor": [HANDSHAKE, request("tools/list", 2, cursor=""), LIST],
    "a cursor null": [HANDSHAKE, request("tools/list", 2, cursor=None), LIST],
    "a modern cursor": [modern("tools/list"), modern("tools/list", 2, cursor="x")],
    "no jsonrpc": [HANDSHAKE, changed(LIST, jsonrpc=...), changed(LIST, jsonrpc="1.0"), changed(LIST, jsonrpc=2.0)],
    "no jsonrpc in initialize": [changed(hello(), jsonrpc=...), HANDSHAKE, LIST],
    "no method": [HANDSHAKE, changed(LIST, method=...), changed(LIST, method=None), changed(LIST, method=["ping"])],
    "strangers beside method": [HANDSHAKE, changed(LIST, extra=1), changed(LIST, result={}), LIST],
    "a list without id": [HANDSHAKE, changed(LIST, id=...), LIST],
    "initialize without id": [changed(hello(), id=...), LIST],
    "the id of initialize again": [HANDSHAKE, request("tools/list", 0), request("tools/call", 0, name="no_such_tool")],
    "the id of a modern request again": [modern("tools/list"), modern("tools/call", 1, name="no_such_tool")],
    "ids again in front": [HANDSHAKE, LIST, LIST, request("ping")],
    "a byte order mark": [b"\xef\xbb\xbf" + hello(), LIST],
    "a byte order mark later": [HANDSHAKE, b"\xef\xbb\xbf" + LIST, LIST],
    "UTF-16": [HANDSHAKE, LIST.decode().encode("utf-16-le") + b"\n", LIST],
    "blanks around": [b"  " + hello(), b"\t" + LIST, LIST.strip() + b"  \r\n"],
    "CRLF": [HANDSHAKE.replace(b"\n", b"\r\n"), LIST.replace(b"\n", b"\r\n"), CALL.replace(b"\n", b"\r\n")],
    "escapes in a method": [HANDSHAKE, LIST.replace(b"tools", b"\\u0074ools"), LIST.replace(b"/", b"\\/")],
    "a key twice": [HANDSHAKE, b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}\n', LIST],
    "a key twice inside": [hello().replace(b'"capabilities":{}', b'"capabilities":{},"capabilities":{}'), LIST],
    "NaN": [hello(capabilities={"experimental": {"x": {}}}).replace(b'"x":{}', b'"x":{"y":NaN}'), HANDSHAKE, LIST],
    "numbers too large": [hello(capabilities={"experimental": {"x": {}}}).replace(b'"x":{}', b'"x":{"y":1e999}'), LIST],
    "very deep": [HANDSHAKE, b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b"[" * 10_000 + b"\n", LIST],
    "deep capabilities": [hello(capabilities={"tasks": json.loads('{"a":' * 150 + "{}" + "}" * 150)}), LIST],
    "a very long line": [HANDSHAKE, request("ping", 2, _meta={"x": "y" * 3_000_000}), LIST],
    "a very long first line": [hello(clientInfo={**CLIENT, "title": "y" * 200_000}), READY, LIST],
    "very long noise": [b"x" * 3_000_000 + b"\n", HANDSHAKE, LIST],
    "the end within a message": [HANDSHAKE, LIST[:-9]],
    "the end within the first message": [hello()[:-9]],
    "the end before the newline": [HANDSHAKE, LIST.strip()],
    "only a first message, unfinished but whole": [hello().strip()],
    "a modern message without newline": [modern("tools/list").strip()],
    "written ahead": [HANDSHAKE + b"".join(request("ping", number) for number in range(2, 302)) + LIST],
    "lists written ahead": [HANDSHAKE + b"".join(request("tools/list", number) for number in range(2, 32))],
    **{f"version {version}": [hello(version), READY, LIST, CALL] for version in LEGACY},
    **{f"version {version}": [hello(version), READY, LIST, CALL] for version in ("2026-07-28", "1999-01-01", "", "?")},
    **{f"id: {name}": [HANDSHAKE, LIST.replace(b'"id":1', b'"id":' + wrong)] for name, wrong in WRONG_IDS.items()},
    **{
        f"first id: {name}": [hello().replace(b'"id":0', b'"id":' + wrong), READY, LIST, CALL]
        for name, wrong in WRONG_IDS.items()
    },
    **{
        f"first modern id: {name}": [LIST.replace(b'"id":1', b'"id":' + wrong), MODERN_CALL]
        for name, wrong in WRONG_IDS.items()
    },
}
HELLOS: dict[str, bytes] = {
    "no capabilities": hello(capabilities=...),
    "capabilities null": hello(capabilities=None),
    "no client": hello(clientInfo=...),
    "half a client": hello(clientInfo={"name": "x"}),
    "a client of numbers": hello(clientInfo={"name": 1, "version": 2}),
    "a client with a title": hello(clientInfo={**CLIENT, "title": "T", "description": "D", "websiteUrl": "nowhere"}),
    "a client without title": hello(clientInfo={**CLIENT, "title": None}),
    "a client with icons": hello(clientInfo={**CLIENT, "icons": [{"src": "https://x.example/i.png"}]}),
    "a client with strange icons": hello(clientInfo={**CLIENT, "icons": [{}]}),
    "a client with a stranger": hello(clientInfo={**CLIENT, "stranger": 1}),
    "no version": hello(protocolVersion=...),
    "version null": hello(protocolVersion=None),
    "version a number": hello(protocolVersion=20251125),
    "a stranger": hello(stranger=1),
    "meta": hello(_meta={"progressToken": 1}),
    "roots": hello(capabilities={"roots": {"listChanged": True}}),
    "roots with a text": hello(capabilities={"roots": {"listChanged": "yes"}}),
    "roots with a stranger": hello(capabilities={"roots": {"x": 1}}),
    "roots null": hello(capabilities={"roots": None}),
    "sampling": hello(capabilities={"sampling": {"tools": {}, "context": {"x": 1}}, "elicitation": {}}),
    "sampling wrong": hello(capabilities={"sampling": {"tools": True}}),
    "elicitation": hello(capabilities={"elicitation": {"form": {"applyDefaults": True}, "url": {}}}),
    "elicitation wrong": hello(capabilities={"elicitation": {"form": 1}}),
    "elicitation a list": hello(capabilities={"elicitation": []}),
    "experimental": hello(capabilities={"experimental": {"x": {"y": [1, {"z": None}]}}, "extensions": {"e": {}}}),
    "experimental wrong": hello(capabilities={"experimental": {"x": 1}}),
    "extensions wrong": hello(capabilities={"extensions": {"x": 1}}),
    "tasks": hello(capabilities={"tasks": {"list": {}, "cancel": {}, "requests": {"sampling": {"createMessage": {}}}}}),
    "tasks wrong": hello(capabilities={"tasks": {"requests": {"sampling": 1}}}),
    "tasks odd": hello(capabilities={"tasks": {"list": {"x": 1}}}),
    "a stranger's capability": hello(capabilities={"telepathy": {"range": 5}, "more": 1}),
}
SCRIPTS |= {f"initialize: {name}": [said, READY, LIST, CALL] for name, said in HELLOS.items()}
SCRIPTS |= {
    f"envelope: {name}": [with_meta(LIST, clientCapabilities=caps), MODERN_CALL]
    for name, said in HELLOS.items()
    if (caps := json.loads(said)["params"].get("capabilities"))
}
SCRIPTS |= {
    f"envelope's client: {name}": [with_meta(LIST, clientInfo=who), MODERN_CALL]
    for name, said in HELLOS.items()
    if (who := json.loads(said)["params"].get("clientInfo")) != CLIENT and who
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=list(SCRIPTS))
def test_every_message_is_the_same_as_without_the_front(script: Script):
    assert with_front(script, FEW).values == without_front(script, FEW).values


def test_a_host_that_writes_megabytes_ahead_before_it_reads_is_served_by_the_front_too():
    lists = [request("tools/list", number) for number in range(2, 1500)]
    said = front_alone([HANDSHAKE, *lists], FEW, ahead=True)
    assert [message["id"] for message in said.messages] == [0, *range(2, 1500)]
    assert said.handover is None


ANSWERED: dict[
    str, tuple[Script, Script, Script]
] = {  # what is answered, what is left, what is said again for its sake
    "handshake": ([HANDSHAKE], [], [HANDSHAKE]),
    "lists": ([HANDSHAKE, *(request(m, n) for n, m in enumerate(LISTS, 1)), request("ping", 9)], [], [HANDSHAKE]),
    "a call": ([HANDSHAKE, LIST], [CALL], [HANDSHAKE]),
    "a call and half a line": ([HANDSHAKE, LIST], [CALL, LIST, CALL[:20]], [HANDSHAKE]),
    "a call at once": ([HANDSHAKE], [CALL], [HANDSHAKE]),
    "no note": ([hello(), LIST], [CALL, READY], [hello()]),
    "two notes": ([HANDSHAKE, READY, LIST], [CALL], [HANDSHAKE, READY]),
    "blanks": ([b"\n\n", HANDSHAKE, b" \n", LIST, b"\n"], [CALL, b"\n\n"], [HANDSHAKE]),
    "modern": ([modern("tools/list"), modern("server/discover", 2)], [MODERN_CALL], [MODERN_REPLAY]),
    "modern silence": ([modern("tools/list")], [QUIET, MODERN_CALL], [MODERN_REPLAY]),
    "nothing": ([], [CALL], []),
    "half a line": ([], [hello()[:30]], []),
    "half a line after a list": ([HANDSHAKE, LIST], [LIST[:30]], [HANDSHAKE]),
    "a real host": (
        [
            hello(
                capabilities={"roots": {"listChanged": True}, "sampling": {}, "elicitation": {"form": {}, "url": {}}},
                clientInfo={**CLIENT, "title": "A host", "websiteUrl": "https://host.example"},
            )
        ],
        [CALL],
        [],
    ),
}


@pytest.mark.parametrize(("answered", "left", "again"), ANSWERED.values(), ids=list(ANSWERED))
def test_the_front_answers_what_it_knows_and_leaves_the_rest_untouched(answered: Script, left: Script, again: Script):
    said = front_alone([*answered, *left], FEW)

    asked = [json.loads(part) for part in whole(answered).splitlines() if part.strip()]
    assert [message["id"] for message in said.messages] == [message["id"] for message in asked if "id" in message]
    assert said.left == (whole(again or answered) + whole(left) if left else b"")


def whole(script: Script) -> bytes:
    return b"".join(piece for piece in script if isinstance(piece, bytes))


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Mostly an opening of one era, with whatever else a client may write in between."""
    numbers = iter(range(1, 1000))
    opening = draw(st.sampled_from([[HANDSHAKE], [hello()], [hello("2024-11-05"), READY], [modern("tools/list")], []]))
    legacy = [request(method, 0) for method in (*LISTS, "ping")]
    envelope = [modern(method, 0) for method in (*LISTS, "server/discover", "ping")]
    likely = envelope if opening and opening[0].startswith(b'{"jsonrpc":"2.0","id":1') else legacy
    rare = [CALL, MODERN_CALL, hello(), b"\n", b" \r\n", b"{}\n", b"noise\n", request("tools/list", 0, cursor="")]
    middle = st.lists(st.sampled_from(likely), max_size=4)
    drawn = [*draw(middle), *draw(st.lists(st.sampled_from([READY, b"\n", *likely, *rare]), max_size=5)), *draw(middle)]
    lines = b"".join([*opening, *drawn]).splitlines(keepends=True)
    told = [changed(part, id=f"n{next(numbers)}") if b'"id"' in part else part for part in lines]
    if draw(st.booleans()) and told:
        told[-1] = told[-1][: draw(st.integers(0, len(told[-1])))]
    return told


@settings(max_examples=150, deadline=None)
@given(told=conversations(), cut=st.integers(1, 400))
def test_nothing_is_lost_or_answered_twice_wherever_the_bytes_are_cut(told: list[bytes], cut: int):
    with patch.object(opening, "CHUNK", cut):
        said = front_alone([b"".join(told)], FEW)

    answered = [message["id"] for message in said.messages]
    every_way = (
        (b"".join(told[:served]), said_again(told[:served]) + b"".join(told[served:]))
        for served in range(len(told) + 1)
    )
    if said.handover is None:  # the client has left, and nothing was open
        assert answered == ids(b"".join(told))
    else:
        assert any(answered == ids(served) and said.left == left for served, left in every_way)


def ids(lines: bytes) -> list[str]:
    return [json.loads(part)["id"] for part in lines.splitlines() if b'"id"' in part]


def said_again(served: list[bytes]) -> bytes:
    """What brings the server into the state in which ``served`` have left the client."""
    if not any(b'"id"' in part for part in served):
        return b""
    kept = b"".join(part for part in served if b'"initialize"' in part or b"notifications/initialized" in part)
    return kept or MODERN_REPLAY


@settings(max_examples=30, deadline=None)
@given(told=conversations(), cut=st.integers(1, 400))
def test_any_conversation_is_the_same_wherever_the_bytes_are_cut(told: list[bytes], cut: int):
    with patch.object(opening, "CHUNK", cut):
        said = with_front([b"".join(told)], FEW)

    assert said.values == without_front([b"".join(told)], FEW).values
