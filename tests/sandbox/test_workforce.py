"""The pool of simulated workers."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scale_mcp.sandbox.workforce import Worker, colleagues, duration, make_pool, noise_of

TYPICAL = Worker("ada@example.com", 0.5, 1.0, 0.8, noise_of(0.5, 0.8))


def times(kind: str, objects: int | None = None, worker: Worker = TYPICAL) -> list[float]:
    rng = random.Random(5)
    return [duration({"type": kind, "params": {}}, worker, rng, objects) for _ in range(2_000)]


def test_the_same_seed_hires_the_same_people() -> None:
    assert make_pool(12, seed=4) == make_pool(12, seed=4)
    assert make_pool(12, seed=4) != make_pool(12, seed=5)
    assert make_pool(5, seed=4) == make_pool(12, seed=4)[:5]


def test_people_have_addresses_that_reach_nobody_and_are_their_own() -> None:
    addresses = [worker.email for worker in make_pool(100)]

    assert len(set(addresses)) == 100
    assert all(address.endswith("@example.com") for address in addresses)


def test_accuracy_over_people_is_spread_about_four_fifths() -> None:
    accuracies = [worker.accuracy for worker in make_pool(2_000, seed=1)]

    assert statistics.fmean(accuracies) == pytest.approx(0.8, abs=0.02)
    assert statistics.stdev(accuracies) == pytest.approx(0.1, abs=0.02)


def test_spammers_come_only_when_asked_for() -> None:
    assert not any(worker.accuracy == 0.3 for worker in make_pool(500))
    assert 30 < sum(worker.accuracy == 0.3 for worker in make_pool(500, spammers=0.1)) < 75


def test_nobody_invents_objects_unless_told_to() -> None:
    assert {worker.noise.bogus for worker in make_pool(100)} == {0.0}


def test_times_are_log_normal_about_the_median_of_the_type() -> None:
    found = times("imageannotation", objects=10)

    assert statistics.median(found) == pytest.approx(30 + 35 * 10, rel=0.05)
    assert statistics.stdev(math.log(value) for value in found) == pytest.approx(0.45, abs=0.03)


def test_more_objects_and_slower_people_take_longer() -> None:
    slow = Worker("bela@example.com", 0.5, 0.5, 0.8, TYPICAL.noise)

    assert statistics.median(times("imageannotation", 20)) > 1.5 * statistics.median(times("imageannotation", 10))
    assert statistics.median(times("imageannotation", 10, slow)) == pytest.approx(
        2 * statistics.median(times("imageannotation", 10)), rel=0.01
    )


def test_an_unknown_type_takes_some_time_too() -> None:
    assert min(times("somethingnew")) >= 5


def test_several_respondents_are_different_people_beside_the_worker() -> None:
    people = colleagues(make_pool(12)[3], 5)

    assert people[0] == make_pool(12)[3]
    assert len({person.email for person in people}) == 5
    assert colleagues(people[0], 1) == [people[0]]


@given(skill=st.floats(0, 1), accuracy=st.floats(0, 1))
def test_chances_of_mistakes_are_chances(skill: float, accuracy: float) -> None:
    noise = noise_of(skill, accuracy)

    for name in (
        "missed",
        "wrong_class",
        "attribute_wrong",
        "attribute_skipped",
        "span_split",
        "frame_dropped",
        "typo",
    ):
        assert 0 <= getattr(noise, name) <= 1
