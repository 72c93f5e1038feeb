"""What workers may draw: the ``geometries`` of image and video tasks, with the options of each shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from scale_mcp.models.checks import Checked, Problem, lowest_first
from scale_mcp.models.field_types import Text
from scale_mcp.models.labels import LabelList, Labels

Pixels = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]

_OBJECT = WithJsonSchema({"type": "object"})  # short, for schemas, where every word costs; the models check the whole


class Shape(Checked):
    """What all shapes share."""

    objects_to_annotate: Labels | None = None


class Box(Shape):
    min_height: Pixels | None = None
    min_width: Pixels | None = None
    can_rotate: bool | None = None
    integer_pixels: bool | None = None

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        if given.get("integer_pixels") is True and given.get("can_rotate") is True:
            yield Problem(("integer_pixels",), "does not go with `can_rotate`; leave one of the two out")


class Path(Shape):
    """A polygon or a line."""

    min_vertices: Annotated[int, Field(ge=1)] | None = None
    max_vertices: Annotated[int, Field(ge=1)] | None = None

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from lowest_first(given, "min_vertices", "max_vertices")


class Connection(Checked):
    """Two point labels that belong together, joined by a linked attribute."""

    pair: Annotated[list[Text], Field(min_length=2, max_length=2)]
    connection_attribute: Text


class Point(Shape):
    objects_to_annotate: LabelList
    connections: list[Connection] | None = None


class CameraIntrinsics(Checked):
    fx: float | None = None
    fy: float | None = None
    cx: float | None = None
    cy: float | None = None
    skew: float | None = None
    scalefactor: Positive | None = None
    scale_factor: Positive | None = None  # Scale documents both spellings

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        if "scalefactor" in given and "scale_factor" in given:
            yield Problem(("scale_factor",), "is another spelling of `scalefactor`; give one of the two")


class Quaternion(Checked):
    w: float
    x: float
    y: float
    z: float


class Cuboid(Shape):
    min_height: Pixels | None = None
    min_width: Pixels | None = None
    camera_intrinsics: CameraIntrinsics | None = None
    camera_rotation_quaternion: Quaternion | None = None
    camera_height: float | None = None


class Ellipse(Shape):
    pass


class Geometries(Checked):
    """At least one shape, each with the labels it is used for."""

    box: Box | None = None
    polygon: Path | None = None
    line: Annotated[Path, _OBJECT] | None = Field(None, description="As polygon")
    point: Annotated[Point, _OBJECT] | None = Field(None, description="objects_to_annotate, connections")
    cuboid: Annotated[Cuboid, _OBJECT] | None = Field(
        None,
        description="min_height, min_width, camera_intrinsics, camera_rotation_quaternion, camera_height",
    )
    ellipse: Annotated[Ellipse, _OBJECT] | None = Field(None, description="objects_to_annotate")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        if not given:
            yield Problem((), f"must hold at least one of {', '.join(cls.model_fields)}")
