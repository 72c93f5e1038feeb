"""The noise model: calibrated against published figures, reproducible, and never producing an invalid shape."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scale_mcp.sandbox import geometry
from scale_mcp.sandbox import noise as noises
from scale_mcp.sandbox.geometry import Shape
from scale_mcp.sandbox.noise import Noise

PICTURE = (0.0, 0.0, 640.0, 480.0)
ROUGH = Noise(
    edge=0.3,
    floor=5,
    tail=1.5,
    rotation=1,
    vertex_dropped=0.5,
    cuboid_centre=1,
    cuboid_size=1,
    cuboid_yaw=2,
    cuboid_flipped=0.3,
)

corner = st.tuples(st.floats(0, 640), st.floats(0, 480))
seeds = st.integers(0, 2**32)


@st.composite
def boxes(draw: st.DrawFn) -> Shape:
    left, top = draw(st.floats(0, 600)), draw(st.floats(0, 440))
    width, height = draw(st.floats(0.5, 640 - left)), draw(st.floats(0.5, 480 - top))
    return {"left": left, "top": top, "width": width, "height": height}


def overlaps(noise: Noise, side: float = 200, count: int = 4_000) -> list[float]:
    rng = random.Random(3)
    truth = {"left": 100, "top": 100, "width": side, "height": side}
    return [geometry.iou(truth, noises.box(truth, noise, rng)) for _ in range(count)]


@pytest.mark.parametrize(
    ("edge", "mean", "fifth_percentile"),
    [
        (0.01, 0.97, 0.95),
        (0.02, 0.94, 0.90),
        (0.03, 0.91, 0.85),
        (0.05, 0.86, 0.77),
        (0.08, 0.78, 0.66),
        (0.12, 0.70, 0.53),
    ],
)
def test_the_width_of_the_noise_gives_the_overlap_that_was_measured(
    edge: float, mean: float, fifth_percentile: float
) -> None:
    found = overlaps(Noise(edge=edge))

    assert statistics.fmean(found) == pytest.approx(mean, abs=0.012)
    assert statistics.quantiles(found, n=20)[0] == pytest.approx(fifth_percentile, abs=0.015)


def test_heavy_tails_keep_the_mean_and_lower_the_worst() -> None:
    found = overlaps(Noise(edge=0.02, tail=2.5))

    assert statistics.fmean(found) == pytest.approx(0.91, abs=0.015)
    assert statistics.quantiles(found, n=20)[0] == pytest.approx(0.82, abs=0.02)


@pytest.mark.parametrize(("side", "mean"), [(12, 0.68), (24, 0.82), (48, 0.91), (96, 0.95), (192, 0.98)])
def test_a_fixed_number_of_pixels_hurts_small_boxes_most(side: float, mean: float) -> None:
    assert statistics.fmean(overlaps(Noise(floor=1.5), side)) == pytest.approx(mean, abs=0.012)


def test_small_objects_are_overlooked_more_often() -> None:
    def share(side: float) -> float:
        rng = random.Random(1)
        return sum(noises.is_missed(side, Noise(missed=0.1), rng) for _ in range(4_000)) / 4_000

    assert share(48) == pytest.approx(0.1, abs=0.02)
    assert share(12) > 0.25 > share(48) > share(200)
    assert noises.is_missed(1, Noise(), random.Random(1)) is False


def test_a_worker_confuses_the_same_labels_again_and_again() -> None:
    rng = random.Random(1)
    said = [noises.confused_label("car", ["car", "van", "bus", "truck"], "ada@example.com", rng) for _ in range(300)]

    assert "car" not in said
    assert max(said.count(label) for label in set(said)) > 150


@given(box=boxes(), seed=seeds)
def test_a_noisy_box_is_finite_has_a_size_and_stays_inside_the_picture(box: Shape, seed: int) -> None:
    drawn = noises.box(box, ROUGH, random.Random(seed), PICTURE)

    assert all(math.isfinite(value) for value in drawn.values())
    assert drawn["width"] > 0
    assert drawn["height"] > 0
    assert drawn["left"] >= 0
    assert drawn["top"] >= 0
    assert drawn["left"] + drawn["width"] <= 640.02
    assert drawn["top"] + drawn["height"] <= 480.02


@given(ring=st.lists(corner, min_size=3, max_size=30), seed=seeds, least=st.integers(1, 12))
def test_a_noisy_polygon_keeps_enough_corners_inside_the_picture(
    ring: list[tuple[float, float]], seed: int, least: int
) -> None:
    drawn = noises.ring(ring, ROUGH, random.Random(seed), PICTURE, least=least)

    assert len(drawn) >= min(max(least, 3), len(ring))
    assert all(0 <= x <= 640 and 0 <= y <= 480 for x, y in drawn)
    if geometry.area(ring) > 2:
        assert geometry.area(drawn) > 0


@given(centre=corner, across=st.floats(1, 300), down=st.floats(1, 200), turn=st.floats(0, math.pi), seed=seeds)
def test_a_noisy_ellipse_keeps_four_extremes_and_leaves_the_picture_only_with_the_truth(
    centre: tuple[float, float], across: float, down: float, turn: float, seed: int
) -> None:
    cos, sin = math.cos(turn), math.sin(turn)
    truth = geometry.ellipse_from(centre, (across * cos, across * sin), (-down * sin, down * cos))

    drawn = noises.ellipse(truth, ROUGH, random.Random(seed), PICTURE)

    points = geometry.points_of(drawn)
    assert len(points) == 4
    assert all(math.isfinite(value) for point in points for value in point)
    if all(0 <= x <= 640 and 0 <= y <= 480 for x, y in geometry.points_of(truth)):
        assert all(-0.01 <= x <= 640.01 and -0.01 <= y <= 480.01 for x, y in points)


@given(
    place=st.tuples(*[st.floats(-1_000, 1_000)] * 3),
    size=st.tuples(*[st.floats(0.1, 20)] * 3),
    yaw=st.floats(-10, 10),
    seed=seeds,
)
def test_a_noisy_cuboid_has_a_size_and_a_heading_within_half_a_turn(
    place: tuple[float, float, float], size: tuple[float, float, float], yaw: float, seed: int
) -> None:
    truth = {
        "position": dict(zip("xyz", place, strict=True)),
        "dimensions": dict(zip("xyz", size, strict=True)),
        "yaw": yaw,
    }

    drawn, _ = noises.cuboid(truth, ROUGH, random.Random(seed))

    assert all(math.isfinite(value) for value in drawn["position"].values())
    assert all(value > 0 for value in drawn["dimensions"].values())
    assert abs(drawn["yaw"]) <= math.pi + 1e-3


@given(text=st.text(max_size=200), seed=seeds)
def test_misspelt_text_is_never_lost(text: str, seed: int) -> None:
    said = noises.misspelt(text, Noise(typo=0.3), random.Random(seed))

    assert bool(said) == bool(text)
    assert set(said) <= set(text)
    assert noises.misspelt(text, Noise(), random.Random(seed)) == text


@given(box=boxes(), seed=seeds)
def test_the_same_seed_makes_the_same_mistakes(box: Shape, seed: int) -> None:
    assert noises.box(box, ROUGH, random.Random(seed)) == noises.box(box, ROUGH, random.Random(seed))


def test_no_noise_is_the_truth() -> None:
    box = {"left": 10.5, "top": 20.25, "width": 30, "height": 40}
    ring = [(1.0, 2.0), (30.0, 2.0), (30.0, 20.0)]

    assert noises.box(box, Noise(), random.Random(1)) == box
    assert noises.ring(ring, Noise(), random.Random(1)) == ring
    assert noises.point((4.0, 5.0), Noise(), random.Random(1)) == (4.0, 5.0)
