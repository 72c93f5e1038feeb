"""Several keys of one account against the sandbox, which limits, refuses and counts each key apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import pytest
import uvicorn

from scale_mcp.api import ApiOptions, OutcomeUnknown, RateLimited, ScaleApi, Unauthorized
from scale_mcp.api.aiohttp_transport import AiohttpTransport
from scale_mcp.api.trace import recording
from scale_mcp.models.task_requests import ImageAnnotationRequest, SegmentationRequest
from scale_mcp.models.tasks import TaskFilter
from scale_mcp.sandbox import SANDBOX_URL, Sandbox, SandboxOptions
from scale_mcp.sandbox.accounts import account_for
from scale_mcp.server.transports.listening import listen
from tests.stepping_time import SteppingTime

pytestmark = pytest.mark.anyio

FIRST, SECOND, THIRD, OTHER = "live_me", "live_me+2", "live_me+3", "live_other"


@pytest.fixture
async def sandbox():
    async with Sandbox(SandboxOptions(clock="manual", seed=3)) as box:
        yield box


def pooled(sandbox: Sandbox, *keys: str, **options: Any) -> ScaleApi:
    chosen = ApiOptions(**{"random": lambda: 0.5, **options})
    return ScaleApi.pooled(
        {key: key for key in keys}, base_url=SANDBOX_URL, transport=sandbox.transport(), options=chosen
    )


def in_time(time: SteppingTime) -> dict[str, Any]:
    return {"sleep": time.sleep, "clock": time.clock}


async def never(seconds: float) -> None:
    assert seconds == 0, "nobody was to wait"


async def at_once(_seconds: float) -> None:
    await anyio.lowlevel.checkpoint()


def request(number: int = 1, **more: Any) -> ImageAnnotationRequest:
    return ImageAnnotationRequest.model_validate(
        {
            "attachment": f"https://example.com/{number}.jpg",
            "geometries": {"box": {"objects_to_annotate": ["car"]}},
            "metadata": {"number": number},
            **more,
        }
    )


def asked_with(sandbox: Sandbox, key: str, **wanted: Any) -> list[int | None]:
    """The statuses of what was asked with one key, in order."""
    account = account_for(key)
    assert account is not None
    return [entry["status"] for entry in sandbox.log.entries(limit=10_000, key=account.key_id, **wanted)]


async def numbers_at_scale(sandbox: Sandbox, key: str = THIRD) -> Counter[int]:
    sandbox.faults.put([])
    async with pooled(sandbox, key) as api:
        return Counter([task.metadata["number"] async for task in api.tasks.iterate(TaskFilter())])


async def work_for(seconds: float, time: SteppingTime, api: ScaleApi, workers: int = 24) -> None:
    async def work() -> None:
        while time.now < seconds:
            await api.projects.list()

    async with time.passing(), anyio.create_task_group() as group:
        for _ in range(workers):
            group.start_soon(work)


async def test_two_keys_of_an_account_give_about_twice_the_rate_of_one(sandbox: Sandbox) -> None:
    sandbox.faults.put([{"kind": "key_limit", "per_second": 10}])
    answered = []
    for keys in ([FIRST], [SECOND, THIRD]):
        time = SteppingTime(sandbox)
        async with pooled(sandbox, *keys, attempts=100, rate_limited_attempts=10_000, **in_time(time)) as api:
            await work_for(60, time, api)
        answered.append(sum(asked_with(sandbox, key).count(200) for key in keys))

    one, two = answered
    assert 400 <= one <= 640  # of the 600 that the limit allows, and a last round
    assert 1.8 * one <= two <= 2.2 * one


async def test_a_rate_of_our_own_holds_for_each_key(sandbox: Sandbox) -> None:
    answered = []
    for keys in ([FIRST], [SECOND, THIRD]):
        time = SteppingTime(sandbox)
        async with pooled(sandbox, *keys, requests_per_second=5, **in_time(time)) as api:
            await work_for(20, time, api)
        answered.append(sum(len(asked_with(sandbox, key)) for key in keys))

    one, two = answered
    assert 1.8 * one <= two <= 2.2 * one


async def test_a_storm_of_429s_on_one_key_leaves_calls_of_other_connections_untouched(sandbox: Sandbox) -> None:
    sandbox.faults.put([{"kind": "rate_limit", "key": FIRST, "retry_after": 30}])
    time = SteppingTime(sandbox)
    patient = {"max_retry_after": 600.0, "call_timeout": 3600.0, **in_time(time)}
    async with (
        pooled(sandbox, FIRST, **patient) as stormy,
        pooled(sandbox, OTHER, sleep=never) as calm,
        anyio.create_task_group() as group,
    ):
        for _ in range(40):
            group.start_soon(stormy.projects.list)
        await time.quiet()
        for _ in range(40):
            assert await calm.projects.list() == []
        group.cancel_scope.cancel()

    assert asked_with(sandbox, OTHER) == [200] * 40
    assert 0 < len(asked_with(sandbox, FIRST)) <= 16  # one round; the rest waits instead of adding to the storm


async def test_a_storm_on_one_key_of_an_account_moves_all_its_work_to_the_other(sandbox: Sandbox) -> None:
    sandbox.faults.put([{"kind": "rate_limit", "key": FIRST, "retry_after": 30}])
    async with pooled(sandbox, FIRST, SECOND, sleep=never, clock=lambda: 0.0) as api:
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(api.projects.list)
        limited, fine = api.keys.health()

    assert asked_with(sandbox, SECOND) == [200] * 100
    assert set(asked_with(sandbox, FIRST)) == {429}
    assert len(asked_with(sandbox, FIRST)) <= 16
    assert (limited.state, fine.state) == ("cooling", "ready")
    assert (fine.ok, fine.limited, limited.ok) == (100, 0, 0)


@pytest.mark.parametrize("own_id", [True, False])
async def test_a_create_that_one_key_was_limited_for_is_made_once_with_the_next(sandbox: Sandbox, own_id: bool) -> None:
    sandbox.faults.put([{"kind": "rate_limit", "key": FIRST, "route": "create_task"}])
    async with pooled(sandbox, FIRST, SECOND, sleep=never, clock=lambda: 0.0) as api:
        with recording() as trace:
            await api.tasks.create(request(), assign_unique_id=own_id)

    assert asked_with(sandbox, FIRST) == [429]
    assert asked_with(sandbox, SECOND) == [200]
    bodies = [entry["body"] for entry in sandbox.log.entries()]
    assert bodies[0] == bodies[1]
    assert ("unique_id" in bodies[0]) is own_id
    assert (trace.exchanges[0].keys, trace.exchanges[0].key_changes) == ([FIRST, SECOND], 1)
    assert await numbers_at_scale(sandbox) == {1: 1}


@pytest.mark.parametrize("kind", ["error_after", "drop_after", "truncated", "malformed"])
async def test_a_create_without_an_id_whose_outcome_is_unknown_goes_to_no_other_key(
    sandbox: Sandbox, kind: str
) -> None:
    sandbox.faults.put([{"kind": kind, "route": "create_task"}])
    async with pooled(sandbox, FIRST, SECOND, sleep=never) as api:
        with pytest.raises(OutcomeUnknown):
            await api.tasks.create(request(), assign_unique_id=False)

    assert len(asked_with(sandbox, FIRST) + asked_with(sandbox, SECOND)) == 1
    assert await numbers_at_scale(sandbox) == {1: 1}


async def test_a_create_in_doubt_that_is_limited_next_is_still_in_doubt(sandbox: Sandbox) -> None:
    """A 429 on the second key says nothing about the first attempt: it is looked up, not given up as not done."""
    sandbox.faults.put(
        [
            {"kind": "error_after", "route": "create_task", "times": 1},
            {"kind": "rate_limit", "route": "create_task", "retry_after": 3600},
        ]
    )
    async with pooled(sandbox, FIRST, SECOND, sleep=at_once) as api:
        with pytest.raises(OutcomeUnknown):
            await api.tasks.create(request())

    assert await numbers_at_scale(sandbox) == {1: 1}


async def create_all(api: ScaleApi, numbers: range, done: Callable[[int], None] = lambda _: None) -> None:
    gate = anyio.CapacityLimiter(24)

    async def create(number: int) -> None:
        async with gate:
            await api.tasks.create(request(number, unique_id=f"picture-{number}"))
            done(number)

    async with anyio.create_task_group() as group:
        for number in numbers:
            group.start_soon(create, number)


async def test_a_storm_of_faults_on_some_keys_makes_each_task_once(sandbox: Sandbox) -> None:
    sandbox.faults.put(
        [
            {"kind": "rate_limit", "key": FIRST, "rate": 0.5, "retry_after": 2},
            {"kind": "rate_limit", "key": SECOND, "rate": 0.2, "retry_after": 1},
            {"kind": "error_after", "route": "create_task", "rate": 0.05},
            {"kind": "drop_after", "route": "create_task", "rate": 0.05},
        ],
        seed=7,
    )
    time = SteppingTime(sandbox)
    options = {"attempts": 10, "rate_limited_attempts": 1000, "call_timeout": 3600, **in_time(time)}
    async with pooled(sandbox, FIRST, SECOND, THIRD, **options) as api, time.passing():
        await create_all(api, range(1000))

    assert await numbers_at_scale(sandbox) == Counter(range(1000))


@pytest.mark.parametrize("transport", [httpx2.AsyncHTTPTransport, AiohttpTransport])
async def test_keys_share_one_network_over_real_connections_and_come_and_go_there(
    sandbox: Sandbox, transport: Callable[[], httpx2.AsyncBaseTransport]
) -> None:
    sandbox.faults.put(
        [
            {"kind": "rate_limit", "key": FIRST, "rate": 0.3, "retry_after": 1},
            {"kind": "drop_after", "route": "create_task", "rate": 0.03},
        ],
        seed=5,
    )
    options = ApiOptions(sleep=at_once, attempts=8, rate_limited_attempts=1000, max_in_flight=8)
    server = uvicorn.Server(uvicorn.Config(sandbox.app, log_level="critical", lifespan="off"))
    with listen("127.0.0.1", 0) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: server.serve(sockets=[listener]))
            keys = {key: key for key in (FIRST, SECOND)}
            async with ScaleApi.pooled(keys, base_url=address, transport=transport(), options=options) as api:
                pool = api.keys
                assert pool is not None

                def change(number: int) -> None:
                    if number == 100:
                        pool.add(THIRD, THIRD)
                        pool.retire(SECOND)

                await create_all(api, range(300), change)
            server.should_exit = True

    assert all(200 in asked_with(sandbox, key) for key in (FIRST, SECOND, THIRD))
    assert await numbers_at_scale(sandbox) == Counter(range(300))


async def test_a_key_can_be_replaced_under_load_without_losing_a_call(sandbox: Sandbox) -> None:
    """The new one is added, the old one retired and then revoked at Scale, while creates run without a pause."""
    sandbox.faults.put([{"kind": "slow", "delay_ms": 1, "rate": 0.3}])
    revoked_after = 0
    async with pooled(sandbox, FIRST, max_in_flight=8) as api:
        pool = api.keys
        assert pool is not None

        def change(number: int) -> None:
            nonlocal revoked_after
            if number == 100:
                pool.add(SECOND, SECOND)
            if number == 150:
                pool.retire(FIRST)
                revoked_after = len(asked_with(sandbox, FIRST))
                sandbox.faults.add({"kind": "unauthorized", "key": FIRST})

        await create_all(api, range(400), change)
        assert pool.names == (SECOND,)

    late = asked_with(sandbox, FIRST)[revoked_after:]
    assert len(late) <= 8  # what was on its way with the old key: done, or refused and done with the new one
    assert len(asked_with(sandbox, SECOND)) > 200
    assert await numbers_at_scale(sandbox) == Counter(range(400))


async def test_a_key_that_scale_does_not_know_is_left_out_and_its_calls_go_on_with_the_others(sandbox: Sandbox) -> None:
    sandbox.faults.put([{"kind": "unauthorized", "key": FIRST}])
    now = 0.0
    async with pooled(sandbox, FIRST, SECOND, sleep=never, clock=lambda: now) as api:
        for number in range(20):
            await api.tasks.create(request(number))
        refused, fine = api.keys.health()
        assert (refused.state, refused.failed, refused.last_status) == ("refused", 1, 401)
        assert (fine.state, fine.ok) == ("ready", 20)
        assert asked_with(sandbox, FIRST) == [401]

        sandbox.faults.put([])
        now = 301.0  # after a while it is tried again, and found to be good
        for _ in range(4):
            await api.projects.list()
        assert [health.state for health in api.keys.health()] == ["ready", "ready"]

    assert await numbers_at_scale(sandbox) == Counter(range(20))


async def test_when_scale_knows_none_of_the_keys_it_says_so_and_each_call_asks_again(sandbox: Sandbox) -> None:
    sandbox.faults.put([{"kind": "unauthorized"}])
    async with pooled(sandbox, FIRST, SECOND, sleep=never, clock=lambda: 0.0) as api:
        for _ in range(3):
            with pytest.raises(Unauthorized):
                await api.projects.list()
        sandbox.faults.put([])
        assert await api.projects.list() == []
        assert "ready" in [health.state for health in api.keys.health()]


async def test_when_all_keys_rest_for_long_a_call_is_refused_with_the_wait_and_nothing_is_sent(
    sandbox: Sandbox,
) -> None:
    sandbox.faults.put([{"kind": "rate_limit", "retry_after": 90}])
    async with pooled(sandbox, FIRST, SECOND, sleep=never, clock=lambda: 0.0) as api:
        for tried in (r"Tried 2 times\. ", "", ""):
            with pytest.raises(RateLimited, match=rf"all 2 keys of it must rest\. {tried}Wait 90 s") as refusal:
                await api.projects.list()
            assert refusal.value.retry_after == pytest.approx(90.25)
            assert not refusal.value.in_doubt

    assert asked_with(sandbox, FIRST) == asked_with(sandbox, SECOND) == [429]


async def test_result_files_are_opened_with_the_next_key_and_end_with_a_key_that_is_retired_meanwhile(
    sandbox: Sandbox,
) -> None:
    async with pooled(sandbox, "test_me", "test_me+2", sleep=never, clock=lambda: 0.0) as api:
        pool = api.keys
        assert pool is not None
        await api.projects.create("roads", "segmentannotation")
        segments = {
            "project": "roads",
            "attachment": "https://example.com/street.jpg",
            "labels": ["road", "sky"],
            "allow_unlabeled": True,
        }
        task = (await api.tasks.create(SegmentationRequest.model_validate(segments))).task
        address = str((await api.tasks.get(task.task_id)).response)
        uuid = address.partition("response_url/")[2][:36]
        sandbox.faults.put([{"kind": "rate_limit", "key": "test_me", "route": "get_task_response"}])
        with recording() as trace:
            async with api.tasks.response(task.task_id, uuid) as file:
                pool.retire("test_me+2")
                content = b"".join([piece async for piece in file.chunks()])

    assert content
    assert trace.exchanges[0].keys is not None
    assert trace.exchanges[0].keys[-1] == "test_me+2"
