"""However the network misbehaves, a create happens exactly once: none twice, none lost."""

from __future__ import annotations

from collections import Counter

import anyio
import anyio.lowlevel
import pytest

from scale_mcp.api import ApiOptions, Conflict, OutcomeUnknown, ScaleApi, ScaleError
from scale_mcp.models.task_requests import ImageAnnotationRequest
from scale_mcp.models.tasks import TaskFilter
from scale_mcp.sandbox import SANDBOX_URL, Sandbox, SandboxOptions

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


OPTIONS = ApiOptions(sleep=at_once, attempts=6, call_timeout=600, max_in_flight=16)


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


@pytest.mark.parametrize("count", [10_000])
async def test_ten_thousand_creates_in_a_storm_of_faults_make_each_task_once(count: int):
    async with Sandbox(SandboxOptions(clock="manual", seed=3)) as sandbox:
        sandbox.faults.put(STORM, seed=11)
        async with ScaleApi("live_storm", base_url=SANDBOX_URL, transport=sandbox.transport(), options=OPTIONS) as api:
            made = await create_all(api, range(count))
            sandbox.faults.put([])

            stored = Counter([task.metadata["number"] async for task in api.tasks.iterate(TaskFilter())])

    assert len(set(made.values())) == count
    assert stored == Counter(range(count))


@pytest.mark.parametrize("kind", ["error_after", "drop_after", "truncated", "malformed"])
async def test_a_create_that_happened_but_was_not_answered_is_recovered(kind: str):
    async with Sandbox(SandboxOptions(clock="manual")) as sandbox:
        sandbox.faults.put([{"kind": kind, "route": "create_task", "times": 1}])
        async with ScaleApi("live_me", base_url=SANDBOX_URL, transport=sandbox.transport(), options=OPTIONS) as api:
            created = await api.tasks.create(request(1, own_id=False))

            assert created.recovered
            assert created.unique_id_assigned
            assert await api.tasks.count(TaskFilter()) == 1


async def test_a_storm_of_429s_delays_creates_and_loses_none():
    async with Sandbox(SandboxOptions(clock="manual")) as sandbox:
        sandbox.faults.put([{"kind": "rate_limit", "rate": 0.6, "retry_after": 2}], seed=2)
        async with ScaleApi("live_me", base_url=SANDBOX_URL, transport=sandbox.transport(), options=OPTIONS) as api:
            made = await create_all(api, range(200))
            sandbox.faults.put([])

            assert await api.tasks.count(TaskFilter()) == len(made) == 200
