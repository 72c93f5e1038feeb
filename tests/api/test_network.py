"""Which transport is used when the caller names none, and the way that a request takes then."""

from __future__ import annotations

import asyncio
import base64
import ssl
import sys
from dataclasses import replace
from pathlib import Path

import aiohttp
import anyio
import httpx2
import pytest

from scale_mcp.api import ApiOptions, ConnectionFailed, ScaleApi
from scale_mcp.api.aiohttp_transport import AiohttpTransport
from scale_mcp.api.network import Pools, open_network

from .certificates import Authority
from .raw_server import OK, Visitor, serving
from .scripted import KEY, TASK_ID

pytestmark = pytest.mark.anyio
FAST, OWN = AiohttpTransport, httpx2.AsyncHTTPTransport
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
ONE_ATTEMPT = ApiOptions(attempts=1)
TASK = b'{"task_id": "65f0c1d2e3a4b5c6d7e8f901"}'


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *map(str.lower, PROXIES)):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["aiohttp", "httpx2"])
def installed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "httpx2":
        monkeypatch.setitem(sys.modules, "aiohttp", None)
    return request.param


async def give_the_task(visitor: Visitor) -> None:
    while await visitor.request() is not None:
        await visitor.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(TASK), TASK))


async def no_way_through(visitor: Visitor) -> None:
    await visitor.head()
    await visitor.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")


async def test_aiohttp_is_used_where_it_is_installed(installed: str):
    async with open_network(https=True, in_flight=4) as transport:
        assert type(transport) is {"aiohttp": FAST, "httpx2": OWN}[installed]


async def test_for_many_requests_at_once_httpx2_gets_several_pools(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    async with open_network(https=True, in_flight=16) as few, open_network(https=True, in_flight=17) as many:
        assert type(few) is OWN
        assert type(many) is Pools


async def test_pools_open_as_they_are_needed_and_share_the_load():
    everybody_is_there, visitors = asyncio.Event(), 0

    async def wait_for_all(visitor: Visitor) -> None:
        nonlocal visitors
        visitors += 1
        if visitors == 40:
            everybody_is_there.set()
        await visitor.request()
        await everybody_is_there.wait()
        await visitor.send(OK)
        await visitor.gone()

    pools = Pools(64, ssl.create_default_context())
    async with serving(wait_for_all) as server, pools:
        request = httpx2.Request("GET", server.url + "/", headers={"Host": "x"})
        with anyio.fail_after(20):
            answers = await asyncio.gather(*(pools.handle_async_request(request) for _ in range(40)))
        assert [pool.busy for pool in pools._pools] == [16, 16, 8]
        for answer in answers:
            assert await answer.aread() == b"ok"
            await answer.aclose()
            await answer.aclose()
        assert [pool.busy for pool in pools._pools] == [0, 0, 0]
        assert visitors == 40


async def test_requests_one_after_the_other_stay_on_one_connection_of_one_pool():
    pools = Pools(64, ssl.create_default_context())
    async with serving(give_the_task) as server, pools:
        for _ in range(5):
            answer = await pools.handle_async_request(httpx2.Request("GET", server.url + "/"))
            await answer.aread()
            await answer.aclose()
        assert server.connections == 1
        assert [pool.busy for pool in pools._pools] == [0]


async def test_a_request_that_fails_or_is_given_up_leaves_its_pool():
    pools = Pools(64, ssl.create_default_context())
    async with serving(give_the_task) as server:
        pass
    async with pools:
        request = httpx2.Request("GET", server.url + "/")
        with pytest.raises(httpx2.ConnectError):
            await pools.handle_async_request(request)
        assert [pool.busy for pool in pools._pools] == [0]

        async def never(visitor: Visitor) -> None:
            await visitor.request()
            await visitor.gone()

        async with serving(never) as silent:
            with anyio.move_on_after(0.05) as scope:
                await pools.handle_async_request(httpx2.Request("GET", silent.url + "/"))
            assert scope.cancelled_caught
            assert [pool.busy for pool in pools._pools] == [0]


async def test_closed_pools_send_nothing():
    pools = Pools(64, ssl.create_default_context())
    await pools.aclose()
    with pytest.raises(httpx2.ConnectError):
        await pools.handle_async_request(httpx2.Request("GET", "http://127.0.0.1:1/"))


@pytest.mark.parametrize("version", ["2.3.10", "3.13.5", "4.0.0"])
async def test_a_version_of_aiohttp_that_was_not_asked_for_is_left_alone(monkeypatch: pytest.MonkeyPatch, version: str):
    monkeypatch.setattr(aiohttp, "__version__", version)
    async with open_network(https=False, in_flight=4) as transport:
        assert type(transport) is OWN


def test_without_asyncio_aiohttp_is_not_used():
    assert type(open_network(https=False, in_flight=4)) is OWN


async def test_a_transport_that_was_passed_is_used_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=TASK))
    async with ScaleApi(KEY, transport=transport) as api:
        assert (await api.tasks.get(TASK_ID)).task_id == TASK_ID


@pytest.mark.usefixtures("installed")
async def test_a_task_is_read_over_either_transport():
    async with serving(give_the_task) as server, ScaleApi(KEY, base_url=f"{server.url}/v1") as api:
        assert (await api.tasks.get(TASK_ID)).task_id == TASK_ID

    (received,) = server.requests
    assert received.line == f"GET /v1/task/{TASK_ID} HTTP/1.1"
    assert received.headers["Authorization"] == "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()
    assert list(received.headers) == ["Host", "Accept", "Accept-Encoding", "User-Agent", "Authorization"]


@pytest.mark.usefixtures("installed")
async def test_https_goes_through_the_proxy_of_the_environment_which_does_not_see_the_key(
    monkeypatch: pytest.MonkeyPatch,
):
    async with serving(no_way_through) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with ScaleApi(KEY, options=ONE_ATTEMPT) as api:
            with pytest.raises(ConnectionFailed, match="ProxyError"):
                await api.tasks.get(TASK_ID)

    (received,) = proxy.requests
    assert received.line == "CONNECT api.scale.com:443 HTTP/1.1"
    assert "Authorization" not in received.headers


@pytest.mark.usefixtures("installed")
async def test_https_to_a_host_without_proxy_goes_direct(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with (
        serving(give_the_task, tls=authority.server("127.0.0.1")) as server,
        ScaleApi(KEY, base_url=f"{server.url}/v1") as api,
    ):
        assert (await api.tasks.get(TASK_ID)).task_id == TASK_ID


@pytest.mark.usefixtures("installed")
async def test_plain_http_to_this_machine_takes_no_proxy_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    for name in PROXIES[:3]:
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(give_the_task) as server, ScaleApi(KEY, base_url=f"{server.url}/v1") as api:
        assert (await api.tasks.get(TASK_ID)).task_id == TASK_ID


@pytest.mark.usefixtures("installed")
async def test_a_proxy_that_answers_with_a_page_does_not_stand_for_scale(monkeypatch: pytest.MonkeyPatch):
    async with serving(give_the_task) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        # The page is no TLS, for which we would wait.
        async with ScaleApi(KEY, options=replace(ONE_ATTEMPT, connect_timeout=0.5)) as api:
            with pytest.raises(ConnectionFailed):
                await api.tasks.get(TASK_ID)

    assert proxy.requests[0].line.startswith("CONNECT ")
