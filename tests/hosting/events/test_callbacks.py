"""Callbacks at the door: proven by one header, of bounded size, answered fast; and the sandbox's own, over a socket."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import pytest
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette

from scale_mcp.hosting.errors import OperatorError
from scale_mcp.hosting.events.inbox import Arrival, Inbox
from scale_mcp.hosting.events.log import EventLog
from scale_mcp.server.hosted.callbacks import Callbacks, arrival_of
from tests.hosting.events.conftest import Scale

pytestmark = pytest.mark.anyio
SECRET = "sandbox-callback-auth"  # what the sandbox sends
TASK = "65f0c1d2e3a4b5c6d7e8f901"
BODY = {"task_id": TASK, "status": "completed", "task": {"updated_at": "2026-01-01T00:00:00Z"}}


@dataclass
class Desk:
    """Stands for inbox and connections: keeps what is put, and knows one connection's secret."""

    taken: list[tuple[str, Arrival]] = field(default_factory=list)
    secret: str = SECRET
    broken: Exception | None = None

    async def put(self, connection_id: str, arrival: Arrival) -> bool:
        if self.broken:
            raise self.broken
        self.taken.append((connection_id, arrival))
        return True

    async def callback_secret(self, connection_id: str) -> SecretStr | None:
        return SecretStr(self.secret) if connection_id == "con_test" else None


@pytest.fixture
def desk() -> Desk:
    return Desk()


@asynccontextmanager
async def client_of(callbacks: Callbacks) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(Starlette(routes=callbacks.routes()))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
async def client(desk: Desk) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(Callbacks(desk, desk, max_body=2_000)) as client:
        yield client


async def post(client: httpx2.AsyncClient, body: Any = BODY, **how: Any) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = how.pop("headers", [("scale-callback-auth", SECRET)])
    return await client.post(how.pop("path", "/callbacks/con_test"), content=content, headers=headers)


async def test_a_callback_with_the_right_header_is_taken(client: httpx2.AsyncClient, desk: Desk) -> None:
    answer = await post(client)

    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert desk.taken == [("con_test", Arrival("task", TASK, "completed", "2026-01-01T00:00:00Z"))]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("scale-callback-auth", "")],
        [("scale-callback-auth", SECRET + "x")],
        [("scale-callback-auth", SECRET[:-1])],
        [("scale-callback-auth", SECRET.upper())],
        [("scale-callback-auth", SECRET), ("scale-callback-auth", SECRET)],
        [("scale-callback-auth", SECRET), ("Scale-Callback-Auth", "other")],
        [("scale-callback-auth", f"{SECRET}, {SECRET}")],
        [("authorization", f"Bearer {SECRET}")],
        [("scale_callback_auth", SECRET)],
        [("x-scale-callback-auth", SECRET)],
        [(b"scale-callback-auth", "gehéim".encode("latin-1"))],
    ],
)
async def test_a_missing_forged_or_doubled_header_is_refused_before_the_body_is_read(
    desk: Desk, headers: list[tuple[str, str]]
) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield json.dumps(BODY).encode()

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": json.dumps(BODY).encode(), "more_body": False}

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    raw = [(_bytes(name).lower(), _bytes(value)) for name, value in headers]
    scope = {"type": "http", "method": "POST", "path": "/callbacks/con_test", "raw_path": b"", "query_string": b""}
    app = Starlette(routes=Callbacks(desk, desk).routes())
    await app({**scope, "headers": raw, "root_path": "", "http_version": "1.1"}, receive, send)  # type: ignore[arg-type]

    assert sent[0]["status"] == 401
    assert read == 0
    assert desk.taken == []


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


async def test_an_unknown_connection_and_a_wrong_proof_are_told_apart_by_nothing(
    client: httpx2.AsyncClient, desk: Desk
) -> None:
    unknown = await post(client, path="/callbacks/con_nobody")
    wrong = await post(client, headers=[("scale-callback-auth", "wrong")])

    assert (unknown.status_code, unknown.content) == (wrong.status_code, wrong.content) == (401, wrong.content)
    assert unknown.headers == wrong.headers
    assert desk.taken == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_cap_is_refused_announced_or_not(
    client: httpx2.AsyncClient, desk: Desk, chunked: bool
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 100

    content: Any = parts() if chunked else b" " * 4_000
    answer = await client.post("/callbacks/con_test", content=content, headers={"scale-callback-auth": SECRET})

    assert answer.status_code == 413
    assert desk.taken == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[" * 1_900,
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        {"task_id": None},
        {"task_id": 7},
        {"task_id": "../../projects"},
        {"task_id": "a" * 200},
        {"task_id": "", "name": "night"},
        {"task": {"task_id": {"x": 1}}},
        {"batch": {"name": "."}},
        {"batch": {"name": "a\u0000b"}},
        {"name": 7},
    ],
)
async def test_a_body_that_names_nothing_is_refused(client: httpx2.AsyncClient, desk: Desk, body: Any) -> None:
    assert (await post(client, body)).status_code == 400
    assert desk.taken == []


@pytest.mark.parametrize(
    ("body", "arrival"),
    [
        ({"task_id": TASK, "response": {}}, Arrival("task", TASK, "")),
        ({"task": {"task_id": TASK, "status": "error"}}, Arrival("task", TASK, "error")),
        ({"task_id": TASK, "status": 7, "task": "odd"}, Arrival("task", TASK, "")),
        ({"task_id": TASK, "status": "a\u202eb\u0000" + "x" * 99}, Arrival("task", TASK, "ab" + "x" * 37 + "…")),
        ({"name": "night", "status": "completed"}, Arrival("batch", "night", "completed")),
        (
            {"batch": {"name": "night", "status": "completed", "completed_at": "2026-01-01"}, "project": "streets"},
            Arrival("batch", "night", "completed", "2026-01-01"),
        ),
    ],
)
def test_what_a_body_names_is_read_in_every_form(body: Any, arrival: Arrival) -> None:
    assert arrival_of(body) == arrival


async def test_other_methods_are_not_there(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/callbacks/con_test")).status_code == 405
    assert (await client.put("/callbacks/con_test")).status_code == 405
    assert (await client.post("/callbacks/")).status_code == 404


@pytest.mark.parametrize("problem", [OperatorError("the vault stays closed"), RuntimeError("the disk is full")])
async def test_what_cannot_be_kept_is_asked_for_again(
    client: httpx2.AsyncClient, desk: Desk, problem: Exception
) -> None:
    desk.broken = problem
    answer = await post(client)

    assert answer.status_code == 503
    assert str(problem) not in answer.text


async def test_the_secret_is_in_no_log_line(
    client: httpx2.AsyncClient, desk: Desk, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    await post(client)
    await post(client, headers=[("scale-callback-auth", "guess-" + SECRET)])
    desk.broken = RuntimeError("out of order")
    await post(client)
    output = capsys.readouterr()

    assert SECRET not in output.out + output.err + caplog.text


@asynccontextmanager
async def listening(callbacks: Callbacks) -> AsyncIterator[str]:
    """The door on a real socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(Starlette(routes=callbacks.routes()), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        while not server.started:
            await anyio.lowlevel.checkpoint()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/callbacks"
        finally:
            server.should_exit = True
    listener.close()


async def drain(inbox: Inbox) -> None:
    while await inbox.work():
        pass


async def test_the_sandboxs_own_callbacks_become_events(
    scale: Scale, desk: Desk, inbox: Inbox, events: EventLog
) -> None:
    """A life of a task, told by real callbacks over a real socket; one of them is lost and comes with a retry."""
    async with listening(Callbacks(inbox, desk)) as address:
        url = f"{address}/con_test"
        task_id = await scale.task(callback_url=url)
        await scale.sandbox.settle()
        await drain(inbox)
        await scale.sandbox.advance(60)
        await scale.test.tasks.audit(task_id, accepted=True)
        await scale.sandbox.settle()
        await drain(inbox)
        await scale.test.tasks.send_callback(task_id)
        await scale.sandbox.settle()
        await drain(inbox)
        scale.recall(task_id)
        desk.secret = "changed"  # so this one is refused, and comes again
        await scale.sandbox.settle()
        await drain(inbox)
        assert [event.kind for event in await events.after(0, 10)] == ["completed", "audited"]
        desk.secret = SECRET
        await scale.sandbox.advance(31)  # the first retry; before the task is done again
        await drain(inbox)

    assert [event.kind for event in await events.after(0, 10)] == ["completed", "audited", "recalled"]
    assert (await scale.test.tasks.get(task_id)).callback_succeeded is True


async def test_a_batchs_callback_of_the_sandbox_becomes_an_event(
    scale: Scale, desk: Desk, inbox: Inbox, events: EventLog
) -> None:
    async with listening(Callbacks(inbox, desk)) as address:
        await scale.project()
        await scale.test.batches.create("streets", "night & day", callback=f"{address}/con_test")
        await scale.task(project="streets", batch="night & day")
        await scale.sandbox.settle()
        await drain(inbox)

    (event,) = await events.after(0, 10)
    assert (event.kind, event.batch, event.project) == ("batch_completed", "night & day", "streets")
