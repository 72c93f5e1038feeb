"""The two kinds of time limit mean the same: the end of the time, and never anybody else's cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest

from scale_mcp.api.time_limit import FarLimit, Scope, TimeLimit, until

from . import virtual_time

Make = Callable[[float], TimeLimit]


@pytest.fixture(params=[until, Scope], ids=["asyncio", "anyio"])
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


@pytest.mark.anyio
async def test_work_within_the_time_passes(make: Make):
    async with make(anyio.current_time() + 60) as limit:
        await anyio.lowlevel.checkpoint()

    assert not limit.expired()


@pytest.mark.anyio
async def test_the_end_of_the_time_is_a_timeout(make: Make):
    limit = make(anyio.current_time() - 1)
    with pytest.raises(TimeoutError):
        async with limit:
            await anyio.sleep_forever()

    assert limit.expired()


@pytest.mark.anyio
async def test_a_timeout_of_somebody_else_is_not_taken_for_ours(make: Make):
    limit = make(anyio.current_time() + 60)
    with pytest.raises(TimeoutError, match="mine"):
        async with limit:
            raise TimeoutError("mine")

    assert not limit.expired()


@pytest.mark.anyio
async def test_a_cancelled_scope_around_it_ends_it_as_a_cancellation(make: Make):
    limit = make(anyio.current_time() + 60)
    with anyio.CancelScope() as scope:
        async with limit:
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert not limit.expired()


@pytest.mark.anyio
async def test_a_cancelled_task_ends_as_cancelled(make: Make):
    async def work() -> None:
        async with make(anyio.current_time() + 60):
            await anyio.sleep_forever()

    task = asyncio.create_task(work())
    await anyio.lowlevel.checkpoint()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.anyio
async def test_the_task_goes_on_undisturbed_after_a_timeout(make: Make):
    with anyio.CancelScope() as scope:
        with pytest.raises(TimeoutError):
            async with make(anyio.current_time() - 1):
                await anyio.sleep_forever()
        for _ in range(3):
            await anyio.lowlevel.checkpoint()

    assert not scope.cancelled_caught
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


def test_a_far_limit_ends_within_an_eighth_of_a_second_after_its_time():
    async def work(seconds: float) -> float:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(TimeoutError):
            async with until(anyio.current_time() + seconds) as limit:
                await anyio.sleep_forever()
        assert limit.expired()
        assert task.cancelling() == 0
        await anyio.lowlevel.checkpoint()
        return anyio.current_time()

    for seconds in (4.01, 60, 119.9):
        assert seconds <= virtual_time.run(work(seconds)) <= seconds + 0.125


def test_of_many_far_limits_each_ends_its_own_work_only():
    async def one(seconds: float, ended: dict[float, float]) -> None:
        try:
            with FarLimit(anyio.current_time() + seconds):
                await anyio.sleep(20)
        except TimeoutError:
            ended[seconds] = anyio.current_time()

    async def work() -> dict[float, float]:
        ended: dict[float, float] = {}
        async with anyio.create_task_group() as group:
            for seconds in (5.0, 5.01, 10.0, 19.8, 20.2, 60.0):
                group.start_soon(one, seconds, ended)
        assert anyio.current_time() == pytest.approx(20)
        return ended

    ended = virtual_time.run(work())
    assert sorted(ended) == [5.0, 5.01, 10.0, 19.8]
    assert all(0 <= at - seconds <= 0.125 for seconds, at in ended.items())


def test_a_far_limit_that_moves_ends_later():
    async def work() -> float:
        limit = FarLimit(anyio.current_time() + 5)

        async def moving() -> None:
            with limit:
                await anyio.sleep(4)
                limit.move(anyio.current_time() + 10)
                await anyio.sleep_forever()

        with pytest.raises(TimeoutError):
            await moving()
        return anyio.current_time()

    assert 14 <= virtual_time.run(work()) <= 14.125


def test_a_cancellation_from_outside_passes_through_a_far_limit_that_ends_at_once_too():
    async def work() -> None:
        limit = FarLimit(anyio.current_time() + 5)

        async def inner() -> None:
            with limit:
                await anyio.sleep_forever()

        task = asyncio.create_task(inner())
        await anyio.lowlevel.checkpoint()
        task.cancel()
        limit.end()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtual_time.run(work())
