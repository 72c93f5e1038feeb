"""What the limiter makes of an API that refuses: simulated in virtual time, through the whole client."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import anyio
import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scale_mcp.api import ApiOptions, ScaleApi
from scale_mcp.api.limits import Limiter

from .scripted import KEY, TASK, TASK_ID
from .virtual_time import run

LATENCY = 0.05


class Limited(httpx2.AsyncBaseTransport):
    """An API that answers after LATENCY and refuses as ``refuses`` says, asked with how many are being served."""

    def __init__(self, refuses: Callable[[int], bool], seed: int) -> None:
        self._refuses = refuses
        self._dice = random.Random(seed)
        self._serving = 0
        self.in_flight = self.most_in_flight = self.requests = self.refused = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        refused = self._refuses(self._serving)
        self.requests += 1
        self.refused += refused
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self._serving += not refused
        try:
            await anyio.sleep(LATENCY * (0.9 + 0.2 * self._dice.random()))
        finally:
            self.in_flight -= 1
            self._serving -= not refused
        if refused:
            return httpx2.Response(429, headers={"Retry-After": "1"}, json={"error": "Too many requests"})
        return httpx2.Response(200, json=TASK)


@dataclass
class Outcome:
    per_second: float
    refused: float  # share of the requests
    most_in_flight: int


def outcome(refuses: Callable[[int], bool], *, calls: int, width: int, seed: int = 1) -> Outcome:
    """``calls`` requests by ``width`` workers. All must succeed: nobody starves or gives up."""
    api_side = Limited(refuses, seed)
    dice = random.Random(seed)
    options = ApiOptions(
        max_in_flight=width, rate_limited_attempts=10**6, call_timeout=10**6, io_timeout=10**6, random=dice.random
    )

    async def work() -> float:
        numbers = iter(range(calls))
        async with ScaleApi(KEY, transport=api_side, options=options) as api, anyio.create_task_group() as group:

            async def worker() -> None:
                for _ in numbers:
                    await api.tasks.get(TASK_ID)

            for _ in range(width):
                group.start_soon(worker)
        return anyio.current_time()

    seconds = run(work())
    return Outcome(calls / seconds, api_side.refused / api_side.requests, api_side.most_in_flight)


def at_most(serving: int) -> Callable[[int], bool]:
    return lambda now: now >= serving


def per_second(rate: float) -> Callable[[int], bool]:
    """A bucket of tokens that holds a tenth of a second's."""
    left, filled = rate / 10, 0.0

    def refuses(_serving: int) -> bool:
        nonlocal left, filled
        now = anyio.current_time()
        left, filled = min(rate / 10, left + (now - filled) * rate), now
        if left < 1:
            return True
        left -= 1
        return False

    return refuses


def now_and_then(share: float, seed: int = 1) -> Callable[[int], bool]:
    dice = random.Random(seed)
    return lambda _serving: dice.random() < share


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("share", "width"), [(0.004, 128), (0.02, 128), (0.004, 16), (0.02, 16)])
def test_scattered_429s_cost_little_more_than_their_own_waits(share: float, width: int, seed: int):
    calls = 40 * width
    found = outcome(now_and_then(share, seed), calls=calls, width=width, seed=seed)

    each = LATENCY + share * (1.25 + LATENCY)  # of a worker's time, with the mean wait
    tail = 3.0  # seconds in which the last ones wait, twice perhaps
    assert found.per_second > 0.8 * calls / (calls * each / width + tail)


@pytest.mark.parametrize(
    ("cap", "width", "share"), [(48, 128, 0.10), (10, 64, 0.12), (10, 16, 0.05), (3, 16, 0.12), (1, 16, 0.25)]
)
def test_under_a_cap_most_of_it_is_used_and_few_requests_are_refused(cap: int, width: int, share: float):
    found = outcome(at_most(cap), calls=120 * cap + 10 * width, width=width)

    assert found.per_second > 0.65 * cap / LATENCY
    assert found.refused < share
    assert found.most_in_flight <= width


@pytest.mark.parametrize(("rate", "width", "share"), [(400, 128, 0.12), (100, 64, 0.2), (100, 16, 0.12)])
def test_under_a_rate_most_of_it_is_used_and_few_requests_are_refused(rate: float, width: int, share: float):
    found = outcome(per_second(rate), calls=int(20 * rate), width=width)

    assert found.per_second > 0.8 * rate
    assert found.refused < share


def test_a_limit_that_is_lifted_is_left_behind_soon():
    until = 3.0
    alone = outcome(at_most(10**6), calls=6000, width=128).per_second

    found = outcome(lambda now: anyio.current_time() < until and now >= 16, calls=6000, width=128)

    limited = until * 16 / LATENCY  # calls that fit into the limited time
    assert 6000 / found.per_second < until + (6000 - limited) / alone + 2.0  # seconds to come back


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.sampled_from([200, 200, 200, 404, 429, 500]), st.integers(0, 50)), max_size=300),
)
def test_whatever_is_answered_the_number_stays_in_bounds_and_everybody_gets_a_turn(
    most: int, answers: list[tuple[int, int]]
):
    async def work() -> None:
        limiter, left, served = Limiter(most, 0, anyio.sleep), iter(answers), 0

        async def one() -> None:
            nonlocal served
            async with limiter.slot() as sent_in_round:
                assert 1 <= limiter.in_flight <= most
                status, ticks = next(left)
                await anyio.sleep(ticks)
                limiter.answered(status, sent_in_round)
                assert 1 <= limiter.allowed <= most
                served += 1

        async with anyio.create_task_group() as group:
            for _ in answers:
                group.start_soon(one)
        assert served == len(answers)
        assert limiter.in_flight == 0

    run(work())
