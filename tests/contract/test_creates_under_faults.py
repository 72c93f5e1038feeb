"""However the network misbehaves, a create happens exactly once: none twice, none lost.

In process, and over real connections with either transport.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import httpx2
import pytest
import uvicorn

from scale_mcp.api import ApiOptions, Conflict, OutcomeUnknown, ScaleApi, ScaleError
from scale_mcp.api.aiohttp_transport import AiohttpTransport
from scale_mcp.api.network import Pools
from scale_mcp.models.task_requests import ImageAnnotationRequest
from scale_mcp.models.tasks import TaskFilter
from scale_mcp.sandbox import SANDBOX_URL, Sandbox, SandboxOptions
from scale_mcp.server.transports.listening import listen

pytestmark = pytest.mark.anyio

STORM = [
    {"kind": "rate_limit", "rate": 0.15, "retry_after": 1},
    {"kind": "error_before", "route": "create_task", "rate": 0.05, "status": 503},
    {"kind": "error_after", "route": "create_task", "rate": 0.10},
    {"kind": "drop_before", "rate": 0.03},
    {"kind": "drop_after", "route": "create_task", "rate": 0.10},
    {"kind": "truncated", "route": "create_task", "rate": 0.03},
    {"kind": "malformed", "route": "create_task", "rate": 0.02},
]


async def at_once(_seconds: float) -> None:
    """Backoff for tests: others get their turn, no time passes."""
    await anyio.lowlevel.checkpoint()


WAYS = ["in process", "httpx2", "pools of httpx2", "aiohttp"]
OPTIONS = ApiOptions(sleep=at_once, attempts=6, call_timeout=600, max_in_flight=16)


@asynccontextmanager
async def connected(sandbox: Sandbox, way: str) -> AsyncIterator[ScaleApi]:
    if way == "in process":
        async with ScaleApi("live_me", base_url=SANDBOX_URL, transport=sandbox.transport(), options=OPTIONS) as api:
            yield api
        return
    config = uvicorn.Config(sandbox.app, log_level="critical", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        transport = {
            "httpx2": httpx2.AsyncHTTPTransport,
            "pools of httpx2": lambda: Pools(64, ssl.create_default_context()),
            "aiohttp": AiohttpTransport,
        }[way]()
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: server.serve(sockets=[listener]))
            try:
                async with ScaleApi("live_me", base_url=address, transport=transport, options=OPTIONS) as api:
                    yield api
            finally:
                server.should_exit = True


def request(number: int, *, own_id: bool) -> ImageAnnotationRequest:
    return ImageAnnotationRequest.model_validate(
        {
            "attachment": f"https://example.com/{number}.jpg",
            "geometries": {"box": {"objects_to_annotate": ["car"]}},
            "metadata": {"number": number},
            **({"unique_id": f"picture-{number}"} if own_id else {}),
        }
    )


async def create_all(api: ScaleApi, numbers: range) -> dict[int, str]:
    """Task ids by number, as a caller gets them who does what the errors advise."""
    made: dict[int, str] = {}

    async def create(number: int, gate: anyio.CapacityLimiter) -> None:
        unknown = False
        async with gate:
            while number not in made:
                try:
                    made[number] = (await api.tasks.create(request(number, own_id=True))).task.task_id
                except OutcomeUnknown:
                    unknown = True
                except Conflict as error:
                    if not unknown or error.existing_task_id is None:
                        raise
                    made[number] = error.existing_task_id
                except ScaleError as error:
                    if not error.retryable:
                        raise

    gate = anyio.CapacityLimiter(16)
    async with anyio.create_task_group() as group:
        for number in numbers:
            group.start_soon(create, number, gate)
    return made


@pytest.mark.parametrize("way", WAYS)
async def test_ten_thousand_creates_in_a_storm_of_faults_make_each_task_once(way: str):
    count = 10_000
    async with Sandbox(SandboxOptions(clock="manual", seed=3)) as sandbox:
        sandbox.faults.put(STORM, seed=11)
        async with connected(sandbox, way) as api:
            made = await create_all(api, range(count))
            sandbox.faults.put([])

            stored = Counter([task.metadata["number"] async for task in api.tasks.iterate(TaskFilter())])

    assert len(set(made.values())) == count
    assert stored == Counter(range(count))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["error_after", "drop_after", "truncated", "malformed"])
async def test_a_create_that_happened_but_was_not_answered_is_recovered(kind: str, way: str):
    async with Sandbox(SandboxOptions(clock="manual")) as sandbox:
        sandbox.faults.put([{"kind": kind, "route": "create_task", "times": 1}])
        async with connected(sandbox, way) as api:
            created = await api.tasks.create(request(1, own_id=False))

            assert created.recovered
            assert created.unique_id_assigned
            assert await api.tasks.count(TaskFilter()) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_storm_of_429s_delays_creates_and_loses_none(way: str):
    async with Sandbox(SandboxOptions(clock="manual")) as sandbox:
        sandbox.faults.put([{"kind": "rate_limit", "rate": 0.6, "retry_after": 2}], seed=2)
        async with connected(sandbox, way) as api:
            made = await create_all(api, range(200))
            sandbox.faults.put([])

            assert await api.tasks.count(TaskFilter()) == len(made) == 200
