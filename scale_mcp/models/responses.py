"""What workers answer, per task type, where its shape is known. Unknown fields are kept throughout.

``typed_response(task)`` reads a task's ``response``. Results that do not fit into a task are addresses of files there;
``result_files`` reads those. Coordinates are pixels from the left and top border.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AliasChoices, Field, ValidationError

from scale_mcp.models.base import WireModel
from scale_mcp.models.common import Items, Object, spelt
from scale_mcp.models.tasks import Task


class Annotation(WireModel):
    """One shape in a picture. Which of the coordinates it has depends on its ``type``."""

    uuid: str | None = None
    type: Annotated[str | None, Field(validation_alias=AliasChoices("type", "geometry"))] = None
    label: str | None = None
    attributes: Object = Field(default_factory=dict)
    left: float | None = None
    top: float | None = None
    width: float | None = None
    height: float | None = None
    rotation: float | None = None  # radians, clockwise
    x: float | None = None
    y: float | None = None
    vertices: Items[dict[str, Any]] = Field(default_factory=list)


class ImageResponse(WireModel):
    """imageannotation, and the older types with one kind of shape."""

    annotations: Items[Annotation] = Field(default_factory=list)
    global_attributes: Object = Field(default_factory=dict)
    links: Items[Any] = Field(default_factory=list)


class Combined(WireModel):
    """Addresses of pictures that show all labels at once: as colours, as indices up to 255, as larger indices."""

    image: str | None = None
    indexed_image: Annotated[str | None, spelt("indexedImage", "indexed_image")] = None
    extended_indexed_image: Annotated[str | None, spelt("extendedIndexedImage", "extended_indexed_image")] = None


class Masks(WireModel):
    """Addresses of masks; a label with instances has a list of them."""

    unlabeled: str | None = None
    labeled: dict[str, str | list[str]] = Field(default_factory=dict)
    combined: Combined | None = None


class SegmentationResponse(WireModel):
    """segmentannotation. ``label_mapping`` gives index and colour of each label, or a list of them for instances."""

    annotations: Masks
    label_mapping: Annotated[Object, spelt("labelMapping", "label_mapping")] = Field(default_factory=dict)


class FileLink(WireModel):
    """The address of a result file."""

    url: str


class LinkedResponse(WireModel):
    """Video and lidar: everything is in files."""

    annotations: FileLink | None = None
    events: FileLink | None = None
    point_segmentations: FileLink | None = None


class Entity(WireModel):
    """A piece of text with its label; ``start`` and ``end`` are character positions."""

    id: Annotated[str | None, Field(validation_alias=AliasChoices("id", "uuid"))] = None
    start: int | None = None
    end: int | None = None
    text: str | None = None
    label: str | None = None
    attributes: Object = Field(default_factory=dict)


class Relation(WireModel):
    id: str | None = None
    name: str | None = None
    source_ref: str | None = None
    target_ref: str | None = None


class EntityResponse(WireModel):
    """namedentityrecognition."""

    annotations: Items[Entity] = Field(default_factory=list)
    relationships: Items[Relation] = Field(default_factory=list)
    global_attributes: Object = Field(default_factory=dict)


class Transcription(WireModel):
    """A piece of a document; ``page`` counts from 0 into the task's ``document_pages``."""

    uuid: str | None = None
    page: int | None = None
    label: str | None = None
    text: str | None = None
    location: Any = None
    refs: Items[str] = Field(default_factory=list)


class DocumentResponse(WireModel):
    """documenttranscription."""

    annotations: Items[Transcription] = Field(default_factory=list)


class TextCollectionResponse(WireModel):
    """textcollection. ``annotations`` holds a value per field id, in the short or the long form."""

    annotations: Object = Field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """The answers by field id in the short form.

        Older projects answer ``{"type", "field_id", "response": [[value, …], …]}``: a list per repetition.
        """
        return {name: _short(value) for name, value in self.annotations.items()}


class FailedAttachment(WireModel):
    url: str | None = None
    status_code: Annotated[int | None, spelt("statusCode", "status_code")] = None


class FailedFrame(WireModel):
    frame: int | None = None
    message: str | None = None
    attachment: FailedAttachment | None = None


class ErrorResponse(WireModel):
    """A task that ended in ``error``: its attachments could not be fetched or read."""

    error: str
    attachments: Items[FailedAttachment] = Field(default_factory=list)
    frames: Items[FailedFrame] = Field(default_factory=list)


Response = (
    ImageResponse
    | SegmentationResponse
    | LinkedResponse
    | EntityResponse
    | DocumentResponse
    | TextCollectionResponse
    | ErrorResponse
)

_SHAPES = ("annotation", "polygonannotation", "lineannotation", "pointannotation", "cuboidannotation")
_LINKED = ("videoannotation", "videoplaybackannotation", "videoboxannotation", "videocuboidannotation")
_LIDAR = ("lidarannotation", "lidarsegmentation", "lidarlinking")
_BY_TYPE: dict[str, type[Response]] = {
    **dict.fromkeys(("imageannotation", *_SHAPES), ImageResponse),
    **dict.fromkeys((*_LINKED, *_LIDAR), LinkedResponse),
    "segmentannotation": SegmentationResponse,
    "namedentityrecognition": EntityResponse,
    "documenttranscription": DocumentResponse,
    "textcollection": TextCollectionResponse,
}


def typed_response(task: Task) -> Response | None:
    """The task's response as a model, or None when there is none, or none of a known shape."""
    if not isinstance(task.response, dict):
        return None
    model = ErrorResponse if task.status == "error" else _BY_TYPE.get(task.type or "")
    if model is None:
        return None
    try:
        return model.model_validate(task.response)
    except ValidationError:
        return None


def file_urls(response: Any) -> Iterator[tuple[str, str]]:
    """Every address in a response with the way to it: ``("annotations.labeled.road", "https://…")``."""
    open_ends: list[tuple[str, Any]] = [("", response)]
    while open_ends:
        path, value = open_ends.pop()
        if isinstance(value, dict):
            open_ends += [(f"{path}.{key}" if path else str(key), value[key]) for key in reversed(value)]
        elif isinstance(value, list):
            open_ends += [(f"{path}[{index}]", value[index]) for index in reversed(range(len(value)))]
        elif isinstance(value, str) and value.startswith(("https://", "http://")):
            yield path, value


def _short(value: Any) -> Any:
    if not isinstance(value, dict) or not isinstance(value.get("response"), list) or "field_id" not in value:
        return value
    repetitions = value["response"]
    if value.get("type") != "category":
        repetitions = [_single(item) for item in repetitions]
    return _single(repetitions)


def _single(items: Any) -> Any:
    return items[0] if isinstance(items, list) and len(items) == 1 else items
