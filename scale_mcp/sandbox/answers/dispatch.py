"""Which family of answers a task type belongs to."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from scale_mcp.sandbox.answers import collection, document, entities, legacy, lidar, picture, segmentation, video
from scale_mcp.sandbox.answers.paper import Answer, Paper, Size
from scale_mcp.sandbox.answers.report import Report

if TYPE_CHECKING:
    from scale_mcp.sandbox.facts import Truth
    from scale_mcp.sandbox.workforce import Worker


class Family(NamedTuple):
    """How one kind of task is answered: made up, and from a truth (None when there is none for this kind)."""

    fabricate: Callable[[Paper], Answer]
    label: Callable[[Paper, Truth | None, Worker, Report], Answer]


FAMILIES: dict[str, Family] = {
    "imageannotation": Family(picture.fabricate, picture.label),
    "lidartopdown": Family(picture.fabricate, picture.label),  # decisions.TOPDOWN_ANSWER
    "segmentannotation": Family(segmentation.fabricate, segmentation.label),
    "videoannotation": Family(video.fabricate, video.label),
    "videoplaybackannotation": Family(video.fabricate_playback, video.label_playback),
    "lidarannotation": Family(lidar.fabricate, lidar.label),
    "lidarsegmentation": Family(lidar.fabricate_points, lidar.label_points),
    "namedentityrecognition": Family(entities.fabricate, entities.label),
    "textcollection": Family(collection.fabricate, collection.label),
    "documenttranscription": Family(document.fabricate, document.label),
    "categorization": Family(legacy.fabricate_category, legacy.label_category),
    "comparison": Family(legacy.fabricate_choice, legacy.label_choice),
    "transcription": Family(legacy.fabricate_fields, legacy.label_fields),
    "datacollection": Family(legacy.fabricate_collected, legacy.label_collected),
    "audiotranscription": Family(legacy.fabricate_transcript, legacy.label_transcript),
    **{name: Family(legacy.fabricate_shapes, legacy.label_shapes) for name in legacy.SHAPES},
    **{name: Family(video.fabricate, video.label) for name in ("videoboxannotation", "videocuboidannotation")},
}


def test_answer(
    task: Mapping[str, Any],
    url: Callable[[str], str],
    rng: random.Random,
    *,
    size: Size | None = None,  # noqa: PT028
) -> Answer:
    """A fabricated answer, as test mode gives at once: the right shape, fixed coordinates, one annotation per label.

    ``url`` maps the uuid of a result file to the URL that will serve it. ``size`` is the picture's, when known.
    """
    paper = Paper(task, url, rng, size)
    family = FAMILIES.get(paper.type)
    answer = family.fabricate(paper) if family else Answer({})
    return _signed(answer, paper, {"truth": "none", "fabricated": True, **({} if family else _unknown(paper.type))})


test_answer.__test__ = False  # type: ignore[attr-defined]  # its name makes pytest think that it is a test


def live_answer(
    task: Mapping[str, Any],
    truth: Truth | None,
    worker: Worker,
    url: Callable[[str], str],
    rng: random.Random,
    *,
    size: Size | None = None,
) -> Answer:
    """The truth with this worker's mistakes; ``simulation`` lists every one of them.

    Where there is no truth the answer is empty in the right shape and ``simulation["truth"]`` is ``"none"``: a
    simulated worker who cannot see the picture must not make up what is in it.
    """
    paper = Paper(task, url, rng, size)
    family = FAMILIES.get(paper.type)
    if family is None:
        return _signed(Answer({}), paper, {"truth": "none", "worker": worker.email, **_unknown(paper.type)})
    report = Report(truth, worker)
    return _signed(family.label(paper, truth, worker, report), paper, report.summary())


def _unknown(task_type: str) -> dict[str, Any]:
    """Said beside an empty answer (decisions.UNKNOWN_TYPE_ANSWER)."""
    return {"note": f"The sandbox does not know the response of the task type {task_type!r}, so it left it empty."}


def _signed(answer: Answer, paper: Paper, simulation: dict[str, Any]) -> Answer:
    answer.files = paper.files
    answer.simulation = {**simulation, **answer.simulation}
    return answer
