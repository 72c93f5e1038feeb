"""Keys, paths, bodies and errors, before any operation comes into play."""

from __future__ import annotations

import base64

import httpx2
import pytest

from scale_mcp.sandbox import SANDBOX_URL, Sandbox
from scale_mcp.sandbox.app import BODY_LIMIT
from scale_mcp.sandbox.http import Reply, Request, Route, Router
from tests.sandbox.calls import ok, project, refused, task
from tests.sandbox.conftest import Connect

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("key", ["test_a", "live_a", "abc|user|test", "test_a|b|test"])
async def test_a_key_with_a_marker_is_an_account(connect: Connect, key: str) -> None:
    assert (await ok(connect(key).get("/tasks")))["total"] == 0


@pytest.mark.parametrize("key", ["", "dummy_api_key", "test", "test_", "live_", "|test", "LIVE_a", "abc|user"])
async def test_any_other_key_is_refused_on_every_path(connect: Connect, key: str) -> None:
    client = connect(key)
    assert await refused(client.get("/tasks"), 401) == "Invalid API key."
    assert await refused(client.get("/no/such/path"), 401) == "Invalid API key."


@pytest.mark.parametrize(
    "header", [None, "Bearer live_a", "Basic", "Basic !!!", "Basic " + base64.b64encode(b"\xff\xfe").decode()]
)
async def test_a_header_that_is_no_basic_authentication_is_refused(sandbox: Sandbox, header: str | None) -> None:
    async with httpx2.AsyncClient(transport=sandbox.transport(), base_url=SANDBOX_URL) as client:
        headers = {} if header is None else {"Authorization": header}
        assert await refused(client.get("/tasks", headers=headers), 401)


@pytest.mark.parametrize("key", ["live_me", "test_me"])
async def test_a_password_is_ignored(sandbox: Sandbox, key: str) -> None:
    async with httpx2.AsyncClient(transport=sandbox.transport(), base_url=SANDBOX_URL, auth=(key, "word")) as client:
        assert (await client.get("/tasks")).status_code == 200


async def test_worlds_of_different_keys_are_separate(connect: Connect) -> None:
    live, test, other = connect("live_me"), connect("test_me"), connect("live_other")
    await project(live)
    made = await task(live, project="cars", unique_id="u1")
    for stranger in (test, other):
        assert await refused(stranger.get(f"/task/{made['task_id']}"), 404) == "Task with that ID not found."
        await refused(stranger.get("/projects/cars"), 404)
        await refused(stranger.post("/task/imageannotation", json={"project": "cars"}), 404)
        assert (await ok(stranger.get("/tasks")))["docs"] == []
        await task(stranger, unique_id="u1")


async def test_a_name_with_a_slash_is_one_segment(live: httpx2.AsyncClient) -> None:
    name = "a/b ü?#%"
    await project(live, name)
    assert (await ok(live.get("/projects/a%2Fb%20%C3%BC%3F%23%25")))["name"] == name
    await refused(live.get("/projects/a/b"), 404)


async def test_an_unknown_path_and_a_wrong_method_say_so(live: httpx2.AsyncClient) -> None:
    await refused(live.get("/nothing"), 404)
    await refused(live.put("/tasks"), 405)


@pytest.mark.parametrize(
    "body", [b"{", b"[1]", b'"x"', b'{"attachment": NaN}', b'{"attachment": "\\ud800"}', b"[" * 100_000, b"\xff"]
)
async def test_a_body_that_is_no_json_object_is_refused(live: httpx2.AsyncClient, body: bytes) -> None:
    await refused(live.post("/task/imageannotation", content=body), 400)


async def test_a_deeply_nested_body_is_refused_or_stored_but_never_breaks_the_sandbox(live: httpx2.AsyncClient) -> None:
    for depth in (200, 500, 900, 990, 2000, 50_000):
        body = b'{"text": "x", "labels": [{"name": "a"}], "extra": ' + b"[" * depth + b"]" * depth + b"}"
        answer = await live.post("/task/namedentityrecognition", content=body)
        assert answer.status_code in (200, 400), answer.text


async def test_a_body_above_the_limit_is_refused_before_it_is_read(live: httpx2.AsyncClient) -> None:
    headers = {"Content-Length": str(BODY_LIMIT + 1)}
    await refused(live.post("/tasks", content=b"x", headers=headers), 413)


async def test_a_request_that_fails_half_way_leaves_nothing(sandbox: Sandbox, connect: Connect) -> None:
    def half(request: Request) -> Reply:
        request.sandbox.projects.create(request.account, "half", "imageannotation", {})
        raise ValueError("on purpose")

    sandbox.app._api = Router([*sandbox.app.routes, Route("POST", "/half", half, "half")])
    client = connect("live_me")
    await refused(client.post("/half"), 500)
    assert await ok(client.get("/projects")) == []


async def test_query_booleans_are_read_in_any_case(live: httpx2.AsyncClient) -> None:
    for value in ("True", "true", "False", "0", ""):
        await ok(live.get("/tasks", params={"limited_response": value}))
    await refused(live.get("/batches", params={"exclude_archived": "perhaps"}), 400)
