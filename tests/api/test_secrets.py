"""The key is in the Authorization header of requests to its own origin, and nowhere else."""

from __future__ import annotations

import base64
import logging
import pickle
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from scale_mcp.api import ApiOptions, RefusedBeforeSending, ScaleApi, ScaleError
from scale_mcp.api.connection import Connection
from scale_mcp.api.trace import recording

from .scripted import KEY, TASK, TASK_ID, TaskRequest, no, ok, scale

pytestmark = pytest.mark.anyio

ENCODED = base64.b64encode(f"{KEY}:".encode()).decode()
ECHO = f"You sent Authorization: Basic {ENCODED} with user {KEY}"


def assert_clean(*things: Any) -> None:
    for thing in things:
        text = thing if isinstance(thing, str) else f"{thing!r} {thing}"
        assert KEY not in text
        assert ENCODED not in text
        assert KEY[:12] not in text


def everything_about(error: BaseException) -> str:
    """What a crash report shows: traceback with chain, repr, attributes, and the local variables of every frame."""
    seen, told = error.__traceback__, []
    while seen is not None:
        if "scale_mcp" in seen.tb_frame.f_code.co_filename or "httpx2" in seen.tb_frame.f_code.co_filename:
            told += [f"{name}={value!r}" for name, value in seen.tb_frame.f_locals.items()]
        seen = seen.tb_next
    lines = traceback.format_exception(error)
    return "\n".join([*lines, repr(error), str(error), repr(vars(error)), *told])


TROUBLES: list[Any] = [
    no(401, ECHO),
    no(400, ECHO, x_request_id=f"id-{KEY}"),
    no(409, ECHO),
    no(500, ECHO),
    httpx2.Response(500, text=ECHO),
    httpx2.Response(418, json={"error": {"headers": {"authorization": ENCODED, "key": KEY}}}),
    httpx2.Response(200, text=ECHO),
    httpx2.Response(200, json={"task_id": {"echo": ECHO}}),
    httpx2.Response(302, headers={"location": "https://evil.example/"}),
    httpx2.ConnectError(f"name resolution failed for {KEY}"),
    httpx2.ReadError(ECHO),
    httpx2.UnsupportedProtocol(ECHO),
    httpx2.InvalidURL(ECHO),
    httpx2.DecodingError(ECHO),
]


async def open_response(api: ScaleApi) -> None:
    async with api.tasks.response(TASK_ID, "x") as stream:
        async for _ in stream.chunks():
            pass


CALLS: dict[str, Callable[[ScaleApi], Awaitable[Any]]] = {
    "read": lambda api: api.tasks.get(TASK_ID),
    "create": lambda api: api.tasks.create(TaskRequest()),
    "write": lambda api: api.projects.set_params("p", {}, patch=True),
    "upload": lambda api: api.files.upload(b"x", file_name="x"),
    "download": open_response,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("trouble", TROUBLES, ids=range(len(TROUBLES)))
async def test_no_failure_shows_the_key(
    call: str, trouble: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    if call == "download" and isinstance(trouble, httpx2.Response) and trouble.status_code < 400:
        trouble = no(404, ECHO)  # the content of a file is nobody's business here
    caplog.set_level(logging.DEBUG)
    api, _ = scale(trouble, attempts=2)
    with recording() as trace, pytest.raises(ScaleError) as caught:
        await CALLS[call](api)

    shown = everything_about(caught.value)
    assert KEY not in shown
    assert ENCODED not in shown
    assert_clean(trace, caplog.text, *capsys.readouterr())


async def test_a_key_that_somebody_stored_at_scale_is_not_read_back():
    api, _ = scale(ok({**TASK, "instruction": f"use {KEY}", "metadata": {KEY: [ENCODED]}}))

    task = await api.tasks.get(TASK_ID)

    assert_clean(task.model_dump())
    assert task.instruction == "use [redacted]"


async def test_a_made_up_key_of_the_sandbox_does_not_eat_into_names():
    api, _ = scale(ok({**TASK, "project": "test_me/2"}), key="test_me")

    assert (await api.tasks.get(TASK_ID)).project == "test_me/2"


async def test_nothing_that_prints_itself_shows_the_key():
    api, _ = scale(ok(TASK))
    await api.tasks.get(TASK_ID)

    assert_clean(api, api._client, api._client.connection, api._client.wire, vars(api), vars(api._client.connection))
    assert_clean(repr(vars(api._client)), repr(vars(api._client.wire)), api.base_url)


async def test_the_address_and_its_query_are_in_no_log(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    api, _ = scale(ok({"docs": []}))
    await api.files.page("a customer's secret project")

    assert "secret" not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith(("httpx2", "httpcore2"))]


async def test_the_key_is_in_the_header_once_and_nowhere_else_in_the_request():
    api, script = scale(ok(TASK))
    await api.tasks.set_metadata(TASK_ID, {"a": 1})

    (request,) = script.requests
    assert request.headers.get_list("authorization") == [f"Basic {ENCODED}"]
    rest = [(name, value) for name, value in request.headers.raw if name.lower() != b"authorization"]
    assert_clean(str(rest), str(request.url), request.content.decode())


async def test_a_netrc_file_gives_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    netrc = tmp_path / ".netrc"
    netrc.write_text(
        "machine results.example.com login eve password secret\nmachine api.scale.com login eve password x\n"
    )
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    away = httpx2.Response(302, headers={"location": "https://results.example.com/f"})
    api, script = scale([away, httpx2.Response(200, content=b"file")])
    async with api.tasks.response(TASK_ID, "x"):
        pass

    assert script.requests[0].headers["authorization"] == f"Basic {ENCODED}"
    assert "authorization" not in script.requests[1].headers


def test_the_connection_cannot_be_pickled_with_its_key_by_accident():
    with pytest.raises((TypeError, pickle.PicklingError, AttributeError)):
        pickle.dumps(Connection(KEY))


async def test_a_refused_key_or_address_is_not_echoed():
    for make in (lambda: ScaleApi(f"{KEY} x"), lambda: ScaleApi(KEY, base_url=f"https://{KEY}@api.scale.com/v1")):
        with pytest.raises(RefusedBeforeSending) as caught:
            make()
        assert_clean(str(caught.value), repr(caught.value))


async def test_scales_words_stay_readable_without_the_key():
    api, _ = scale(no(401, f"Key {KEY} was revoked."))
    with pytest.raises(ScaleError, match=r"Key \[redacted\] was revoked"):
        await api.tasks.get(TASK_ID)


def test_the_options_have_no_place_for_a_key():
    assert "key" not in str(list(ApiOptions.__dataclass_fields__))
