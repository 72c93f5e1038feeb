"""The people who are not there: a seeded pool of workers, how good they are, and how long a task takes them."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scale_mcp.sandbox import decisions
from scale_mcp.sandbox.noise import Noise

REVIEW_CATCHES = decisions.REVIEW_CATCHES.value
# Class accuracy over workers, after "about Beta(12, 3)" in studies of crowds; mean 0.8, before review.
ACCURACY_ALPHA, ACCURACY_BETA = 12.0, 3.0
SPREAD_OF_TIMES = 0.45  # sigma of the log-normal

FIRST_NAMES = (
    *("ada", "amir", "bela", "chidi", "dara", "emil", "fatou", "goran", "hana", "ines", "jomo", "kaya"),
    *(
        "lena",
        "mateo",
        "nia",
        "omar",
        "priya",
        "quinn",
        "rosa",
        "sami",
        "tala",
        "ugo",
        "vera",
        "wanjiru",
        "yuki",
        "zoe",
    ),
)

# Seconds: fixed part and part per object, by task type. A drawn and verified box takes 35–42 s in published studies;
# for lidar, polygons and text there is no firm number, so these are the sandbox's own.
SECONDS: dict[str, tuple[float, float]] = {
    "imageannotation": (30, 35),
    "annotation": (30, 35),
    "polygonannotation": (30, 60),
    "segmentannotation": (120, 75),
    "videoannotation": (120, 60),
    "videoplaybackannotation": (120, 60),
    "lidarannotation": (240, 90),
    "lidarsegmentation": (300, 90),
    "namedentityrecognition": (45, 8),
    "textcollection": (40, 25),
    "documenttranscription": (60, 15),
    "categorization": (10, 0),
    "comparison": (15, 0),
}
OTHERWISE = (60.0, 30.0)
USUAL_OBJECTS = 6


@dataclass(frozen=True)
class Worker:
    """One simulated labeller. ``skill`` in 0…1, ``speed`` 1 is the median (2 is twice as fast)."""

    email: str
    skill: float
    speed: float
    accuracy: float  # share of right classes before review
    noise: Noise


def make_pool(workers: int, seed: int = 0, *, spammers: float = 0.0) -> list[Worker]:
    """The same ``workers`` people for the same seed. ``spammers``: share who choose labels without looking."""
    rng = random.Random(f"workforce|{seed}")
    return [_hire(number, rng, spammers) for number in range(max(workers, 1))]


def _hire(number: int, rng: random.Random, spammers: float) -> Worker:
    name = FIRST_NAMES[number % len(FIRST_NAMES)] + (f".{number // len(FIRST_NAMES) + 1}" if number >= 26 else "")
    return _person(f"{name}@example.com", rng, spammers)


def hire(email: str, seed: int = 0) -> Worker:
    """Somebody from outside of the pool; the same qualities for the same e-mail and seed."""
    return _person(email, random.Random(f"workforce|{seed}|{email.lower()}"), spammers=0.0)


def _person(email: str, rng: random.Random, spammers: float) -> Worker:
    accuracy = rng.betavariate(ACCURACY_ALPHA, ACCURACY_BETA)
    if rng.random() < spammers:
        accuracy = 0.3
    skill = min(max(0.6 * accuracy + 0.4 * rng.random(), 0.05), 0.98)
    speed = rng.lognormvariate(0, 0.25)
    return Worker(email, round(skill, 3), round(speed, 3), round(accuracy, 3), noise_of(skill, accuracy))


def noise_of(skill: float, accuracy: float) -> Noise:
    """A worker's mistakes after review. Perfect skill halves the middling worker's; none doubles them."""
    slack = 2.0 ** (1 - 2 * skill)  # 2 at no skill, 1 in the middle, a half at perfect skill
    passes = 1 - REVIEW_CATCHES
    return Noise(
        edge=0.015 * slack,  # with the tail and the floor: mean IoU of 0.92 on a box of 48 pixels at slack 1
        floor=0.6 * slack,
        tail=4.0,
        rotation=math.radians(0.7) * slack,
        missed=min(0.05 * slack, 0.5) * passes,
        wrong_class=(1 - accuracy) * passes,
        attribute_wrong=(1 - accuracy) * 0.6 * passes,
        attribute_skipped=0.02 * slack * passes,
        vertex_dropped=0.05 * slack,
        mask_shift=0.5 * slack,
        mask_swollen=min(0.4 * slack, 0.8),
        cuboid_centre=0.06 * slack,
        cuboid_size=0.02 * slack,
        cuboid_yaw=math.radians(1.2) * slack,
        cuboid_flipped=0.02 * slack * passes,
        point_wrong=0.05 * slack,
        frame_dropped=0.01 * slack,
        track_broken=0.03 * slack * passes,
        span_boundary=0.04 * slack * passes,
        span_split=0.02 * slack * passes,
        span_merged=0.02 * slack * passes,
        typo=0.002 * slack,
    )


def colleagues(worker: Worker, count: int) -> list[Worker]:
    """``count`` respondents for a task that several people answer: the worker and others beside him."""
    others = make_pool(count, seed=hash_of(worker.email)) if count > 1 else []
    return [worker, *(other for other in others if other.email != worker.email)][: max(count, 1)]


def hash_of(text: str) -> int:
    """A small stable number for a text; ``hash`` differs between processes."""
    return random.Random(text).getrandbits(32)


def objects_expected(task: Mapping[str, Any]) -> int:
    """How much there seems to be to do, from the task alone: pre-labels, fields, characters, frames."""
    params = task.get("params") or {}
    hypothesis = params.get("hypothesis")
    annotations = hypothesis.get("annotations") if isinstance(hypothesis, Mapping) else None
    if isinstance(annotations, list | dict) and annotations:
        return len(annotations)
    if isinstance(params.get("fields"), list | dict):
        return max(len(params["fields"]), 1)
    if isinstance(params.get("text"), str):
        return 1 + len(params["text"]) // 60
    frames = params.get("attachments")
    return USUAL_OBJECTS + (len(frames) if isinstance(frames, list) else 0)


def duration(task: Mapping[str, Any], worker: Worker, rng: random.Random, objects: int | None = None) -> float:
    """Seconds this worker needs: log-normal about what the task type and the number of objects take at median."""
    fixed, each = SECONDS.get(str(task.get("type")), OTHERWISE)
    median = fixed + each * (objects_expected(task) if objects is None else objects)
    return max(5.0, median / worker.speed * rng.lognormvariate(0, SPREAD_OF_TIMES))
