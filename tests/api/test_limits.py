"""How many requests go out at once, and how that number learns."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from scale_mcp.api.limits import Limiter

pytestmark = pytest.mark.anyio


async def never(_seconds: float) -> None:
    raise AssertionError("nobody was to wait")


async def settle() -> None:
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


async def test_no_more_than_the_maximum_are_in_flight_and_the_rest_come_in_order():
    limiter, gate = Limiter(3, 0, never), anyio.Event()
    started: list[int] = []

    async def work(number: int) -> None:
        async with limiter.slot():
            started.append(number)
            await gate.wait()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(work, number)
                await settle()
            assert started == [0, 1, 2]
            assert limiter.in_flight == 3
            gate.set()
    assert started == list(range(8))
    assert limiter.in_flight == 0


def answer(limiter: Limiter, *statuses: int) -> None:
    """Answers to requests that were sent just now."""
    for status in statuses:
        limiter.answered(status, limiter._round)


async def test_a_429_here_and_there_changes_nothing():
    limiter = Limiter(40, 0, never)
    for _ in range(50):
        answer(limiter, *[200] * 38, 429, 429)  # a twentieth
    assert limiter.allowed == 40


async def test_two_429s_among_twenty_answers_halve_the_number_once_per_round():
    limiter = Limiter(16, 0, never)
    async with limiter.slot() as first, limiter.slot() as second, limiter.slot() as third, limiter.slot() as fourth:
        limiter.answered(429, first)
        assert limiter.allowed == 16
        limiter.answered(200, third)
        limiter.answered(429, second)
        assert limiter.allowed == 8
        limiter.answered(429, fourth)
        limiter.answered(429, fourth)  # sent before the number was halved: no second lesson
        limiter.answered(200, fourth)
        assert limiter.allowed == 8
    for expected in (4, 2, 1, 1):
        answer(limiter, 429, 429)
        assert limiter.allowed == expected


async def test_of_many_in_flight_more_than_a_twentieth_halves_at_once():
    limiter = Limiter(200, 0, never)
    answer(limiter, *[429] * 10)
    assert limiter.allowed == 200
    answer(limiter, 429)
    assert limiter.allowed == 100


async def test_after_a_halving_one_success_each_leads_to_three_quarters_and_then_a_few_per_span():
    limiter = Limiter(200, 0, never)
    answer(limiter, *[200] * 200)  # what is known to go well
    answer(limiter, *[429] * 11)
    assert limiter.allowed == 100
    answer(limiter, *[200] * 50)
    assert limiter.allowed == 150
    answer(limiter, *[200] * 155)
    assert limiter.allowed == 151
    answer(limiter, *[200] * 200 * 20)
    assert limiter.allowed == 200


async def test_after_two_halvings_in_a_row_the_way_back_is_slow():
    limiter = Limiter(200, 0, never)
    answer(limiter, *[429] * 11, *[429] * 6)
    assert limiter.allowed == 50
    answer(limiter, *[200] * 55)
    assert limiter.allowed == 51


async def test_from_one_at_a_time_the_number_comes_back_too():
    limiter = Limiter(16, 0, never)
    answer(limiter, *[429] * 12)
    assert limiter.allowed == 1
    answer(limiter, *[200] * 260)
    assert limiter.allowed == 16


async def test_an_error_of_the_server_teaches_nothing():
    limiter = Limiter(4, 0, never)
    answer(limiter, 429, 429)
    before = limiter.allowed
    answer(limiter, *[500] * 20)
    assert limiter.allowed == before == 2


async def test_a_lowered_limit_lets_running_requests_finish_and_starts_no_new_one_before():
    limiter = Limiter(4, 0, never)
    gates = [anyio.Event() for _ in range(4)]
    extra: list[str] = []

    async def hold(gate: anyio.Event) -> None:
        async with limiter.slot():
            await gate.wait()

    async def late() -> None:
        async with limiter.slot():
            extra.append("ran")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for gate in gates:
                group.start_soon(hold, gate)
            await settle()
            answer(limiter, 429, 429)  # 4 → 2
            group.start_soon(late)
            await settle()
            for gate in gates[:2]:
                gate.set()
            await settle()
            assert extra == []
            gates[2].set()
            await settle()
            assert extra == ["ran"]
            gates[3].set()


async def test_giving_up_while_waiting_leaks_no_slot():
    limiter, gate = Limiter(1, 0, never), anyio.Event()

    async def hold() -> None:
        async with limiter.slot():
            await gate.wait()

    async def wait_in_vain(scope: anyio.CancelScope) -> None:
        with scope:
            async with limiter.slot():
                raise AssertionError("it was cancelled")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(hold)
            await settle()
            waiting, woken = anyio.CancelScope(), anyio.CancelScope()
            group.start_soon(wait_in_vain, waiting)
            await settle()
            waiting.cancel()
            await settle()
            group.start_soon(wait_in_vain, woken)
            await settle()
            gate.set()  # the slot is handed over …
            woken.cancel()  # … to one that is cancelled at the same moment
        async with limiter.slot():
            assert limiter.in_flight == 1
    assert limiter.in_flight == 0


async def test_a_rate_lets_a_seconds_worth_through_and_then_spaces_the_rest():
    waits: list[float] = []

    async def record(seconds: float) -> None:
        waits.append(seconds)

    limiter = Limiter(16, 2, record)
    for _ in range(5):
        async with limiter.slot():
            pass

    assert waits == pytest.approx([0.5, 1.0, 1.5], abs=0.4)


async def test_a_rate_below_one_lets_the_first_one_through_at_once():
    waits: list[float] = []

    async def record(seconds: float) -> None:
        waits.append(seconds)

    limiter = Limiter(16, 0.25, record)
    for _ in range(2):
        async with limiter.slot():
            pass

    assert waits == pytest.approx([4.0], abs=1)
