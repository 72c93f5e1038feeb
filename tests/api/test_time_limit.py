"""The two kinds of time limit mean the same: the end of the time, and never anybody else's cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest

from scale_mcp.api.time_limit import Scope, TimeLimit, until

pytestmark = pytest.mark.anyio
Make = Callable[[float], TimeLimit]


@pytest.fixture(params=[until, Scope], ids=["asyncio", "anyio"])
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


async def test_work_within_the_time_passes(make: Make):
    async with make(anyio.current_time() + 60) as limit:
        await anyio.lowlevel.checkpoint()

    assert not limit.expired()


async def test_the_end_of_the_time_is_a_timeout(make: Make):
    limit = make(anyio.current_time() - 1)
    with pytest.raises(TimeoutError):
        async with limit:
            await anyio.sleep_forever()

    assert limit.expired()


async def test_a_timeout_of_somebody_else_is_not_taken_for_ours(make: Make):
    limit = make(anyio.current_time() + 60)
    with pytest.raises(TimeoutError, match="mine"):
        async with limit:
            raise TimeoutError("mine")

    assert not limit.expired()


async def test_a_cancelled_scope_around_it_ends_it_as_a_cancellation(make: Make):
    limit = make(anyio.current_time() + 60)
    with anyio.CancelScope() as scope:
        async with limit:
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert not limit.expired()


async def test_a_cancelled_task_ends_as_cancelled(make: Make):
    async def work() -> None:
        async with make(anyio.current_time() + 60):
            await anyio.sleep_forever()

    task = asyncio.create_task(work())
    await anyio.lowlevel.checkpoint()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


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
