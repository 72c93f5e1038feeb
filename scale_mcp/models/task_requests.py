"""What a task creation sends: the parameters common to all types, and one request per type.

Field names are the names on the wire. What a project can supply (geometries, labels, fields, …) is required only
when neither ``project`` nor ``batch`` is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, WithJsonSchema

from scale_mcp.models.attributes import Attributes, GlobalAttributes, Links
from scale_mcp.models.checks import Checked, Problem, exactly_one
from scale_mcp.models.field_types import AttachmentUrl, CallbackTarget, Identifier, Name, Tags, TaskMetadata, Text
from scale_mcp.models.geometries import Geometries, Pixels, Positive
from scale_mcp.models.labels import LabelList
from scale_mcp.models.text_parts import (
    CollectionAttachment,
    CollectionFields,
    EntityLabels,
    Features,
    Open,
    Relationship,
    Responses,
    as_objects,
    relationship_problems,
)

Attachments = Annotated[list[AttachmentUrl], Field(min_length=1)]
JsonObject = dict[str, Any]

OBJECT = WithJsonSchema({"type": "object"})
OBJECTS = WithJsonSchema({"type": "array", "items": {"type": "object"}})


class TaskRequest(Checked):
    """The parameters that every task type takes. Limits: 5 tags, 10 kB of metadata, priority 10 to 30."""

    task_type: ClassVar[str]
    from_project: ClassVar[tuple[str, ...]] = ()  # parameters that a project may supply instead

    project: Name | None = Field(None, description="Project name")
    batch: Name | None = Field(None, description="Batch name")
    instruction: Text | None = Field(None, description="Markdown for labelers")
    callback_url: CallbackTarget | None = Field(None, description="URL or e-mail")
    metadata: TaskMetadata | None = Field(None, description="At most 10 kB")
    priority: Annotated[int, Field(ge=10, le=30)] | None = Field(None, description="20 is normal")
    unique_id: Text | None = Field(None, description="Unique account-wide")
    clear_unique_id_on_error: bool | None = Field(None, description="Free unique_id on error")
    tags: Tags | None = Field(None, description="Search tags")
    project_version: Annotated[int, Field(ge=-1)] | None = Field(None, description="-1 inherits nothing")
    extra_params: JsonObject | None = Field(None, description="Other body fields")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from super().rules(given)
        extra = given.get("extra_params")
        for name in extra if isinstance(extra, dict) else ():
            if name in cls.model_fields:
                yield Problem(("extra_params", name), f"cannot be set here; give it as the argument `{name}`")
        if "project" not in given and "batch" not in given:
            for name in cls.from_project:
                if name not in given:
                    yield Problem((name,), "is missing; give it, or name a `project` or `batch` that supplies it")

    def to_wire(self) -> dict[str, Any]:
        body = super().to_wire()
        return {**body.pop("extra_params", {}), **body}


class PreLabels(Checked):
    """Annotations that exist already, and what the workers may do with them."""

    hypothesis: JsonObject | None = Field(None, description="Editable pre-labels")
    base_annotations: JsonObject | None = Field(None, description="Pre-labels {annotations}")
    can_add_base_annotations: bool | None = Field(None, description="May add more")
    can_edit_base_annotations: bool | None = Field(None, description="May edit them")
    can_edit_base_annotation_labels: bool | None = Field(None, description="May relabel them")
    can_delete_base_annotations: bool | None = Field(None, description="May delete them")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from super().rules(given)
        base = given.get("base_annotations")
        if isinstance(base, dict) and "annotations" not in base:
            yield Problem(("base_annotations", "annotations"), 'is missing; give {"annotations": […]}')


class Padding(Checked):
    padding: Pixels | None = Field(None, description="Pixels around")
    paddingX: Pixels | None = Field(None, description="Left and right")  # noqa: N815 - as on the wire
    paddingY: Pixels | None = Field(None, description="Top and bottom")  # noqa: N815


class ContextAttachment(Open):
    attachment: AttachmentUrl


def _pre_label_shapes(given: Mapping[str, Any]) -> Iterator[Problem]:
    """A pre-label of a shape that the task does not ask for makes Scale refuse the task."""
    geometries = given.get("geometries")
    if not isinstance(geometries, dict):
        return
    for source in ("hypothesis", "base_annotations"):
        annotations = given[source].get("annotations") if isinstance(given.get(source), dict) else None
        for index, annotation in enumerate(annotations if isinstance(annotations, list) else ()):
            shape = annotation.get("type") if isinstance(annotation, dict) else None
            if isinstance(shape, str) and shape not in geometries:
                text = f'is "{shape[:40]}", but `geometries` asks only for {", ".join(map(str, geometries))[:200]}'
                yield Problem((source, "annotations", index, "type"), text)
                return  # one is enough: the others are of the same kind


class ImageAnnotationRequest(TaskRequest, PreLabels, Padding):
    task_type = "imageannotation"
    from_project = ("geometries",)

    attachment: AttachmentUrl = Field(description="Image URL")
    attachment_type: Literal["image"] | None = Field(None, description="Attachment kind")
    geometries: Geometries | None = Field(None, description="Shapes, with their labels")
    annotation_attributes: Attributes | None = Field(None, description="Questions by name")
    links: Links | None = Field(None, description="Allowed links")
    context_attachments: Annotated[list[ContextAttachment], OBJECTS] | None = Field(
        None, description="Reference images {attachment}"
    )

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from super().rules(given)
        yield from _pre_label_shapes(given)
        context = given.get("context_attachments")
        for index, entry in enumerate(context if isinstance(context, list) else ()):
            if isinstance(entry, dict) and entry.get("attachment") == given.get("attachment") is not None:
                yield Problem(
                    ("context_attachments", index, "attachment"), "must differ from the task's own attachment"
                )


class SegmentationRequest(TaskRequest):
    task_type = "segmentannotation"
    from_project = ("labels",)

    attachment: AttachmentUrl = Field(description="Image URL")
    attachment_type: Literal["image"] | None = Field(None, description="Attachment kind")
    labels: LabelList | None = Field(None, description="{choice, instance_label: true} splits instances")
    allow_unlabeled: bool | None = Field(None, description="Let pixels stay unlabeled")
    annotation_attributes: Attributes | None = Field(None, description="Questions by name")
    hypothesis: JsonObject | None = Field(None, description="Editable pre-labels")


class VideoAnnotationRequest(TaskRequest, PreLabels, Padding):
    task_type = "videoannotation"
    from_project = ("geometries",)

    attachment_type: Literal["image", "video"] | None = Field(None, description="Frames or one video")
    attachments: Attachments | None = Field(None, description="Frame URLs in order")
    attachment: AttachmentUrl | None = Field(None, description="Video URL")
    geometries: Annotated[Geometries, OBJECT] | None = Field(None, description="Shapes, as for images")
    events_to_annotate: list[Text] | None = Field(None, description="Event labels")
    annotation_attributes: Attributes | None = Field(None, description="Questions by name")
    frame_rate: Positive | None = Field(None, description="Frames per second")
    start_time: Annotated[float, Field(ge=0)] | None = Field(None, description="In seconds")
    duration_time: Positive | None = Field(None, description="In seconds")
    links: Links | None = Field(None, description="Allowed links")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from super().rules(given)
        kind = given.get("attachment_type")
        inherits = "project" in given or "batch" in given
        if kind == "video" or (kind is None and "attachment" in given and "attachments" not in given and inherits):
            wanted, unwanted, what = "attachment", "attachments", "video"
        else:
            wanted, unwanted, what = "attachments", "attachment", "image"
        if kind is None and "attachment" in given and not inherits:
            yield Problem(("attachment_type",), 'is missing; a single video `attachment` needs "video"')
        elif wanted not in given:
            yield Problem((wanted,), f'is missing; attachment_type "{what}" (the default is "image") needs it')
        elif unwanted in given:
            yield Problem((unwanted,), f'does not go with attachment_type "{what}"; give only `{wanted}`')


class VideoPlaybackRequest(TaskRequest):
    task_type = "videoplaybackannotation"
    from_project = ("geometries",)

    attachment: AttachmentUrl | None = Field(None, description="Video URL")
    attachments: Attachments | None = Field(None, description="More videos (V2)")
    attachment_type: Literal["video"] | None = Field(None, description="Attachment kind")
    geometries: Annotated[Geometries, OBJECT] | None = Field(None, description="Shapes, as for images")
    events_to_annotate: list[Text] | None = Field(None, description="Event labels")
    annotation_attributes: Attributes | None = Field(None, description="Questions by name")
    frame_rate: Positive | None = Field(None, description="Per second, default 1")
    annotation_frame_rate: Positive | None = Field(None, description="V2 only")
    video_frame_rate: Positive | None = Field(None, description="V2 only")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from super().rules(given)
        if "attachment" not in given and "attachments" not in given:
            yield Problem(("attachment",), "is missing; give the video's URL")


class Dependent(Open):
    type: Text | None = None
    annotation_type: Text | None = None
    instruction: Text | None = None
    callback_url: CallbackTarget | None = None


class Dependents(Open):
    """Tasks that follow a lidar task."""

    defs: Annotated[list[Dependent], Field(min_length=1)]
    require_audit: bool | None = None


class LidarAnnotationRequest(TaskRequest):
    task_type = "lidarannotation"
    from_project = ("labels",)

    attachments: Attachments = Field(description="Frame URLs in order")
    attachment_type: Literal["json"] = Field("json", description="Frame kind")
    labels: LabelList | None = Field(None, description="Labels of cuboids")
    max_distance_meters: Positive | None = Field(None, description="Ignore what is farther")
    meters_per_unit: Positive | None = Field(None, description="Default 1")
    annotation_attributes: Attributes | None = Field(None, description="Questions by name")
    pitch_and_roll_enabled: bool | None = Field(None, description="Allow both rotations")
    hypothesis: JsonObject | None = Field(None, description="Editable pre-labels")
    dependents: Annotated[Dependents, OBJECT] | None = Field(None, description="Follow-up tasks {defs}")


class LidarSegmentationRequest(TaskRequest):
    task_type = "lidarsegmentation"

    attachments: Attachments | None = Field(None, description="Frame URLs in order")
    attachment_type: Literal["json"] | None = Field(None, description="Frame kind")
    labels: LabelList | None = Field(None, description="Point classes")
    lidar_task: Identifier | None = Field(None, description="Completed task's id, instead")
    lidar_task_frames: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = Field(
        None, description="Its frames, default all"
    )

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from super().rules(given)
        if "project" not in given and "batch" not in given:
            yield Problem(("project",), "is missing; lidar segmentation needs `project` or `batch`")
        yield from exactly_one(given, "attachments", "lidar_task")
        if "lidar_task" in given and "attachments" not in given and "attachment_type" in given:
            yield Problem(("attachment_type",), "does not go with `lidar_task`; leave it out")
        if "lidar_task_frames" in given and "lidar_task" not in given:
            yield Problem(("lidar_task_frames",), "goes only with `lidar_task`; leave it out or give that")

    def to_wire(self) -> dict[str, Any]:
        body = super().to_wire()
        return {"attachment_type": "json", **body} if "attachments" in body else body


class NamedEntityRequest(TaskRequest):
    task_type = "namedentityrecognition"
    from_project = ("labels",)

    text: Text = Field(description="The text itself")
    labels: EntityLabels | None = Field(None, description="{name, description, children}")
    relationships: list[Annotated[Relationship, OBJECT]] | None = Field(
        None, description="{source_label, target_label, is_directed}; name and display_name on all or none"
    )
    global_attributes: GlobalAttributes | None = Field(None, description="Questions about the whole text")
    hypothesis: JsonObject | None = Field(None, description="Editable pre-labels")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from super().rules(given)
        yield from relationship_problems(given)

    def to_wire(self) -> dict[str, Any]:
        body = super().to_wire()
        return {**body, "labels": as_objects(body["labels"])} if "labels" in body else body


class TextCollectionRequest(TaskRequest):
    task_type = "textcollection"
    from_project = ("fields", "attachments")

    attachments: Annotated[list[CollectionAttachment], Field(min_length=1)] | None = Field(
        None, description="What to look at: text inline, else URL"
    )
    fields: CollectionFields | None = Field(None, description="{field_id, type, title, choices: [{label, value}]}")
    title: Text | None = Field(None, description="Heading of the task")
    description: Text | None = Field(None, description="Text under the heading")
    responses_required: Responses | None = Field(None, description="People per task, default 1")
    hypothesis: JsonObject | None = Field(None, description="Suggested answers")


class DocumentTranscriptionRequest(TaskRequest):
    task_type = "documenttranscription"
    # Older documents and clients say `fields`; whichever is given goes out under its own name.

    attachment: AttachmentUrl | None = Field(None, description="Document URL")
    attachments: Attachments | None = Field(None, description="Page URLs, instead")
    features: Features | None = Field(None, description="{type: text|block|group, label, flags, geometry}")
    fields: Features | None = Field(None, description="Other spelling of features")
    hypothesis: JsonObject | None = Field(None, description="Editable pre-labels")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from super().rules(given)
        yield from exactly_one(given, "attachment", "attachments")
        if "features" in given and "fields" in given:
            yield Problem(("fields",), "is another spelling of `features`; give one of the two")
        elif not {"features", "fields", "project", "batch"} & set(given):
            yield Problem(("features",), "is missing; give it, or name a `project` or `batch` that supplies it")


REQUESTS: dict[str, type[TaskRequest]] = {
    request.task_type: request
    for request in (
        ImageAnnotationRequest,
        SegmentationRequest,
        VideoAnnotationRequest,
        VideoPlaybackRequest,
        LidarAnnotationRequest,
        LidarSegmentationRequest,
        NamedEntityRequest,
        TextCollectionRequest,
        DocumentTranscriptionRequest,
    )
}
