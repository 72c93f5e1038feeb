"""The task types Scale knows: what each requires, which defaults it fills in, and how its labels are spelt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ATTACHED = ("attachment", "attachments")


@dataclass(frozen=True)
class TaskType:
    """``required``: each element is a parameter, or a tuple of which one is needed."""

    name: str
    required: tuple[str | tuple[str, ...], ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)
    instruction: str | None = None  # the default text
    enterprise: bool = False
    evaluated: bool = False  # Rapid has evaluation and training tasks of this type


IMAGE = {"attachment_type": "image"}
SHAPES = ("attachment", "objects_to_annotate")


def _types() -> list[TaskType]:
    return [
        TaskType("imageannotation", ("attachment", "geometries"), IMAGE, evaluated=True),
        TaskType(
            "segmentannotation",
            ("attachment", "labels"),
            {**IMAGE, "allow_unlabeled": False, "allow_parent_labels": False},
            evaluated=True,
        ),
        TaskType("videoannotation", (ATTACHED, "geometries"), {"frame_rate": 1}, enterprise=True),
        TaskType(
            "videoplaybackannotation",
            (ATTACHED, "geometries"),
            {"attachment_type": "video", "frame_rate": 1},
            evaluated=True,
        ),
        TaskType("lidarannotation", ("attachments", "labels"), {"attachment_type": "json", "meters_per_unit": 1}),
        TaskType("lidarsegmentation", (("attachments", "lidar_task"), "labels")),
        TaskType("lidartopdown", ("project", ATTACHED, "geometries")),
        TaskType("lidarlinking", (("lidar_task", "attachments"),)),
        TaskType("sensorfusion", ("project", "attachments", "annotation_definition", "instruction")),
        TaskType("multistage"),
        TaskType("documenttranscription", (ATTACHED, "features"), evaluated=True),
        TaskType("documentmodel", (ATTACHED,)),
        TaskType("namedentityrecognition", ("text", "labels"), evaluated=True),
        TaskType("textcollection", ("attachments", "fields"), {"responses_required": 1}, evaluated=True),
        TaskType("categorization", ("attachment", "categories"), {"allow_multiple": False}),
        TaskType("comparison", ("attachments", "choices")),
        TaskType("transcription", ("attachment", ("fields", "repeatable_fields", "row_fields"))),
        TaskType("datacollection", ("attachment", "fields")),
        TaskType(
            "audiotranscription",
            ("attachment",),
            {"attachment_type": "audio", "skip_human_transcription": False},
            instruction="Please transcribe the attached audio file.",
        ),
        TaskType("annotation", SHAPES, {**IMAGE, "min_width": 0, "min_height": 0}),
        TaskType("polygonannotation", SHAPES, IMAGE),
        TaskType("lineannotation", SHAPES, {**IMAGE, "splines": False}),
        TaskType("pointannotation", SHAPES, IMAGE),
        TaskType(
            "cuboidannotation",
            SHAPES,
            {**IMAGE, "with_labels": True, "min_annotations": 0, "max_annotations": 0},
        ),
        TaskType("laneannotation", (ATTACHED,)),
        TaskType("videoboxannotation", ("attachments", "objects_to_annotate")),
        TaskType("videocuboidannotation", ("attachments", "objects_to_annotate")),
        TaskType("federal2dvideoannotation", (ATTACHED,)),
        TaskType("chat"),
        TaskType("chatexperimental"),
        TaskType("chatlite"),
        TaskType("multichat"),
    ]


TASK_TYPES = {kind.name: kind for kind in _types()}
CHAT_TYPES = ("chat", "chatexperimental", "chatlite", "multichat")
