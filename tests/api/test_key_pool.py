"""How keys of one account take turns, rest, come and go. What Scale says is scripted for each key."""

from __future__ import annotations

import base64
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import pytest

from scale_mcp.api import (
    ApiOptions,
    ConnectionFailed,
    RateLimited,
    RefusedBeforeSending,
    ScaleApi,
    ServerError,
    Unauthorized,
)
from scale_mcp.api.key_pool import KeyPool
from tests.stepping_time import SteppingTime

from .scripted import KEY, TASK, TASK_ID, TaskRequest, no, ok

pytestmark = pytest.mark.anyio


class Scale:
    """Answers each key as told, fine where nothing is told, and keeps which key asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, list[Any]] = {}
        self.closed = 0

    def tell(self, key: str, *answers: Any) -> None:
        """The next answers to a key: responses, errors to raise, events to wait for before a fine answer or another."""
        self.answers[key] = list(answers)

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        key = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode().removesuffix(":")
        self.asked.append(key)
        told = self.answers.get(key)
        step = told.pop(0) if told else ok(TASK)
        if isinstance(step, anyio.Event):
            step = step, ok(TASK)
        if isinstance(step, tuple):
            await step[0].wait()
            step = step[1]
        if isinstance(step, Exception):
            raise step
        return httpx2.Response(step.status_code, headers=step.headers, content=step.content)


class Network(httpx2.MockTransport):
    def __init__(self, scale: Scale) -> None:
        super().__init__(scale)
        self._scale = scale

    async def aclose(self) -> None:
        self._scale.closed += 1


def open_pool(scale: Scale, *keys: str, time: SteppingTime | None = None, **options: Any) -> tuple[ScaleApi, KeyPool]:
    """An api over these keys, named after themselves in capitals, in a time of its own."""
    time = time or SteppingTime()
    chosen = ApiOptions(**{"sleep": time.sleep, "clock": time.clock, "random": lambda: 0.5, **options})
    api = ScaleApi.pooled({key.upper(): key for key in keys}, transport=Network(scale), options=chosen)
    assert api.keys is not None
    return api, api.keys


async def ask(api: ScaleApi, times: int = 1) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(times):
            group.start_soon(api.tasks.get, TASK_ID)


def rests(pool: KeyPool) -> list[float]:
    return [health.cools_for for health in pool.health()]


async def test_idle_keys_take_turns_and_busy_ones_get_less() -> None:
    scale, slow = Scale(), anyio.Event()
    api, _ = open_pool(scale, "a", "b", "c")
    for _ in range(6):
        await ask(api)
    assert scale.asked == ["a", "b", "c"] * 2

    scale.asked.clear()
    scale.tell("a", slow, slow)
    async with anyio.create_task_group() as group:
        group.start_soon(ask, api, 1)
        await anyio.wait_all_tasks_blocked()
        for _ in range(4):
            await ask(api)
        slow.set()
    assert scale.asked == ["a", "b", "c", "b", "c"]


async def test_more_requests_than_places_wait_and_all_keys_are_filled() -> None:
    scale, gate = Scale(), anyio.Event()
    api, pool = open_pool(scale, "a", "b", max_in_flight=3)
    for key in "ab":
        scale.tell(key, *[gate] * 3)
    async with anyio.create_task_group() as group:
        group.start_soon(ask, api, 10)
        await anyio.wait_all_tasks_blocked()
        assert [health.in_flight for health in pool.health()] == [3, 3]
        gate.set()

    assert sorted(scale.asked) == ["a"] * 5 + ["b"] * 5
    assert [health.in_flight for health in pool.health()] == [0, 0]


async def test_a_limited_key_rests_as_long_as_it_is_told_and_is_then_tried_with_one_request() -> None:
    scale, time, probe = Scale(), SteppingTime(), anyio.Event()
    api, pool = open_pool(scale, "a", "b", time=time, max_in_flight=2)
    scale.tell("a", no(429, retry_after="20"))
    await ask(api, 4)
    assert rests(pool) == [20.25, 0.0]

    time.now, scale.asked = 20.0, []
    await ask(api, 4)
    assert scale.asked == ["b"] * 4

    time.now, scale.asked = 20.25, []
    scale.tell("a", probe)
    scale.tell("b", probe, probe)
    assert pool.health()[0].state == "probation"
    async with anyio.create_task_group() as group:
        group.start_soon(ask, api, 6)
        await anyio.wait_all_tasks_blocked()
        assert scale.asked.count("a") == 1
        probe.set()
    assert pool.health()[0].state == "ready"
    await ask(api, 4)
    assert scale.asked.count("a") > 1


async def test_rests_without_a_word_of_scale_begin_with_a_minute_and_double_to_five() -> None:
    scale, time = Scale(), SteppingTime()
    api, pool = open_pool(scale, "a", "b", time=time)
    seen = []
    for _ in range(5):
        scale.tell("a", no(429))
        await ask(api, 2)
        seen.append(rests(pool)[0])
        time.now += seen[-1]
    assert seen == [60, 120, 240, 300, 300]

    await ask(api, 2)  # is answered, which halves what is remembered: five rests in a row count as two
    scale.tell("a", no(429))
    await ask(api, 2)
    assert rests(pool) == [240, 0]


async def test_many_429s_of_one_round_are_one_rest() -> None:
    scale, gate = Scale(), anyio.Event()
    api, pool = open_pool(scale, "a", "b", max_in_flight=8)
    scale.tell("a", *[(gate, no(429))] * 8)
    scale.tell("b", *[gate] * 8)
    async with anyio.create_task_group() as group:
        group.start_soon(ask, api, 16)
        await anyio.wait_all_tasks_blocked()
        gate.set()

    assert pool.health()[0].limited == 8
    assert rests(pool) == [60, 0]


async def test_the_only_key_rests_no_longer_than_a_request_pauses() -> None:
    scale, time = Scale(), SteppingTime()
    api, pool = open_pool(scale, "a", time=time)
    scale.tell("a", no(429), no(429))
    async with time.passing():
        await ask(api)

    assert scale.asked == ["a"] * 3
    assert time.now < 3
    assert pool.health()[0].state == "ready"


async def test_when_all_keys_rest_a_call_waits_for_the_first_and_goes_on_with_it() -> None:
    scale, time = Scale(), SteppingTime()
    api, _ = open_pool(scale, "a", "b", time=time)
    scale.tell("a", no(429, retry_after="9"))
    scale.tell("b", no(429, retry_after="4"))
    async with time.passing():
        await ask(api)

    assert scale.asked == ["a", "b", "b"]
    assert time.now == 4.25


async def test_a_wait_that_does_not_fit_the_deadline_is_refused_at_once_with_its_length() -> None:
    scale = Scale()
    api, _ = open_pool(scale, "a", "b", call_timeout=3.0)
    for key in "ab":
        scale.tell(key, no(429, retry_after="9"))
    with pytest.raises(RateLimited) as refusal:
        await ask_one(api)

    assert refusal.value.retry_after == 9.25
    assert refusal.value.retryable


async def ask_one(api: ScaleApi) -> None:
    await api.tasks.get(TASK_ID)


async def test_who_waits_for_a_busy_key_takes_one_that_has_rested() -> None:
    scale, time, busy = Scale(), SteppingTime(), anyio.Event()
    api, pool = open_pool(scale, "a", "b", time=time, max_in_flight=1)
    scale.tell("a", no(429, retry_after="5"))
    await ask(api)
    scale.tell("b", busy)
    async with anyio.create_task_group() as group:
        group.start_soon(ask, api)
        await anyio.wait_all_tasks_blocked()
        async with time.passing():
            await ask(api)
        assert scale.asked == ["a", "b", "b", "a"]
        busy.set()
    assert time.now == 5.25
    assert rests(pool) == [0, 0]


async def test_nobody_is_refused_for_a_long_rest_while_another_key_is_at_work() -> None:
    scale, busy = Scale(), anyio.Event()
    api, _ = open_pool(scale, "a", "b", max_in_flight=1)
    scale.tell("a", no(429, retry_after="500"))
    await ask(api)
    scale.tell("b", busy)
    async with anyio.create_task_group() as group:
        group.start_soon(ask, api, 3)
        await anyio.wait_all_tasks_blocked()
        busy.set()
    assert scale.asked == ["a", *"bbbb"]


async def test_who_waits_for_resting_keys_goes_on_at_once_with_a_new_one() -> None:
    scale = Scale()
    api, pool = open_pool(scale, "a", "b")
    for key in "ab":
        scale.tell(key, no(429, retry_after="50"))
    async with anyio.create_task_group() as group:
        group.start_soon(ask, api, 5)
        await anyio.wait_all_tasks_blocked()
        assert len(scale.asked) == 2
        pool.add("C", "c")
    assert scale.asked[2:] == ["c"] * 5


async def test_a_retired_key_ends_what_it_has_begun_and_begins_nothing_more() -> None:
    scale, gate = Scale(), anyio.Event()
    api, pool = open_pool(scale, "a", "b", max_in_flight=1)
    scale.tell("a", gate)
    scale.tell("b", gate)
    async with anyio.create_task_group() as group:
        group.start_soon(ask, api, 4)
        await anyio.wait_all_tasks_blocked()
        pool.retire("A")
        gate.set()
    assert scale.asked == ["a", "b", "b", "b"]
    assert pool.names == ("B",)


async def test_without_any_key_calls_are_refused_those_that_wait_included() -> None:
    scale, gate = Scale(), anyio.Event()
    api, pool = open_pool(scale, "a", max_in_flight=1)
    scale.tell("a", gate)
    outcomes: list[str] = []

    async def call() -> None:
        try:
            await ask_one(api)
            outcomes.append("fine")
        except RefusedBeforeSending as refusal:
            outcomes.append(str(refusal))

    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        pool.retire("A")
        await anyio.wait_all_tasks_blocked()
        gate.set()
    await call()

    refused = "No key of this account is left. Add a key."
    assert outcomes == [refused, "fine", refused]


async def test_a_server_s_error_is_repeated_with_any_key_and_does_not_make_one_rest() -> None:
    scale, time = Scale(), SteppingTime()
    api, pool = open_pool(scale, "a", "b", time=time)
    scale.tell("a", no(503))
    async with time.passing():
        await ask(api)
    scale.tell("a", *[no(503)] * 10)
    scale.tell("b", *[httpx2.ConnectError("no")] * 10)
    async with time.passing():
        with pytest.raises((ServerError, ConnectionFailed)):
            await ask_one(api)

    assert rests(pool) == [0, 0]
    assert [health.limited for health in pool.health()] == [0, 0]
    assert sum(health.failed for health in pool.health()) == 5


async def test_a_key_is_not_tried_again_within_the_call_that_scale_refused_it_in() -> None:
    scale = Scale()
    api, pool = open_pool(scale, "a", "b", "c")
    for key in "abc":
        scale.tell(key, no(401), no(401))
    with pytest.raises(Unauthorized):
        await ask_one(api)

    assert scale.asked == ["a", "b", "c"]
    assert {health.state for health in pool.health()} == {"refused"}


async def test_giving_up_while_waiting_loses_no_place() -> None:
    scale, gate = Scale(), anyio.Event()
    api, pool = open_pool(scale, "a", max_in_flight=1)
    scale.tell("a", gate)
    async with anyio.create_task_group() as group:
        group.start_soon(ask, api)
        await anyio.wait_all_tasks_blocked()
        for _ in range(3):
            with anyio.move_on_after(0):
                await ask_one(api)
        scope = anyio.CancelScope()

        async def woken() -> None:
            with scope:
                await ask_one(api)

        group.start_soon(woken)
        await anyio.wait_all_tasks_blocked()
        gate.set()  # its place becomes free …
        scope.cancel()  # … in the moment in which it gives up
    with anyio.fail_after(5):
        await ask(api, 3)
    assert pool.health()[0].in_flight == 0


async def test_keys_of_different_worlds_do_not_go_together() -> None:
    with pytest.raises(RefusedBeforeSending, match="A test key cannot join live keys"):
        ScaleApi.pooled({"a": "live_a", "b": "test_a"})
    with pytest.raises(RefusedBeforeSending, match="no API key"):
        ScaleApi.pooled({})


async def test_a_name_that_is_known_keeps_its_key() -> None:
    scale = Scale()
    api, pool = open_pool(scale, "a")
    pool.add("A", "other")
    pool.retire("unknown")
    await ask(api)
    assert scale.asked == ["a"]


async def test_the_network_is_opened_once_and_closed_once() -> None:
    scale = Scale()
    api, pool = open_pool(scale, "a", "b")
    await ask(api, 4)
    pool.retire("A")
    await api.aclose()
    with pytest.raises(RefusedBeforeSending, match="closed"):
        await ask_one(api)
    assert scale.closed == 1


async def test_no_key_of_a_pool_is_shown_whichever_asked() -> None:
    other = "test_second5e1fd00dcafe0123456789ab"
    both = [KEY, other]
    encoded = [base64.b64encode(f"{key}:".encode()).decode() for key in both]
    scale = Scale()
    for key in both:
        scale.tell(
            key,
            ok({**TASK, "instruction": " ".join(both), "metadata": {"x": encoded}}),
            no(400, " ".join(both + encoded)),
            httpx2.ReadError(" ".join(both + encoded)),
        )
    chosen = ApiOptions(attempts=1)
    api = ScaleApi.pooled({"one": KEY, "two": other}, transport=Network(scale), options=chosen)
    shown: list[str] = []
    for _ in both:
        shown.append(repr((await api.tasks.get(TASK_ID)).model_dump()))
    for _ in range(4):
        try:
            await api.tasks.create(TaskRequest())
        except Exception as error:
            shown.append(f"{error} {error!r} {vars(error)}")
    pool = api.keys
    assert pool is not None
    pool.retire("one")
    shown += [repr(api), repr(vars(api)), repr(vars(pool)), repr(pool.health()), repr(vars(api._client))]
    shown.append(api.without_key(" ".join(both + encoded).encode()).decode())

    assert len(shown) > 9
    for text in shown:
        for secret in both + encoded:
            assert secret not in text


async def test_a_call_is_patient_once_and_not_for_each_rest_anew() -> None:
    """Rests that are short one by one can follow each other for long: then the wait is for the caller to decide."""
    scale, time = Scale(), SteppingTime()
    api, _ = open_pool(scale, "a", time=time, max_retry_after=20.0, rate_limited_attempts=1000)
    scale.tell("a", *[no(429)] * 1000)
    async with time.passing():
        with pytest.raises(RateLimited):
            await ask_one(api)

    assert 10 < time.now <= 20
    assert len(scale.asked) < 10
