"""The contents of result files: video, lidar and point segmentation do not fit into a task. Unknown fields are kept.

Coordinates are pixels from the left and top border; in lidar they are metres.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, Field, TypeAdapter

from scale_mcp.models.base import WireModel
from scale_mcp.models.common import Items, Object, spelt
from scale_mcp.models.responses import Annotation


class Vector(WireModel):
    x: float
    y: float
    z: float


class VideoFrame(WireModel):
    """One frame of a videoannotation file, which is a list of them."""

    annotations: Items[Annotation] = Field(default_factory=list)


class Keyframe(WireModel):
    """Where an object is at one moment. ``key`` is the frame number of the video, ``timestamp`` seconds."""

    key: int | None = None
    timestamp: float | None = None
    attributes: Object = Field(default_factory=dict)


class TrackedObject(WireModel):
    label: str | None = None
    geometry: Annotated[str | None, Field(validation_alias=AliasChoices("geometry", "type"))] = None
    frames: Items[Keyframe] = Field(default_factory=list)


class PlaybackFile(WireModel):
    """The one element of a videoplaybackannotation file: objects by their uuid."""

    annotations: dict[str, TrackedObject] = Field(default_factory=dict)


class Event(WireModel):
    """Something that happens in a video, at a point or over a range of frames and seconds."""

    label: str | None = None
    type: str | None = None
    start: int | None = None
    end: int | None = None
    start_time: Annotated[float | None, spelt("startTime", "start_time")] = None
    end_time: Annotated[float | None, spelt("endTime", "end_time")] = None
    attributes: Object = Field(default_factory=dict)


class Cuboid(WireModel):
    """A box in space: centre, size (x width, y length, z height) in metres, yaw in radians."""

    uuid: str | None = None
    label: str | None = None
    position: Vector
    dimensions: Vector
    yaw: float | None = None
    pitch: float | None = None
    roll: float | None = None
    camera_used: int | None = None
    stationary: bool | None = None
    distance_to_device: float | None = None
    attributes: Object = Field(default_factory=dict)


class LidarFrame(WireModel):
    """One frame of a lidarannotation file, which is a list of them."""

    cuboids: Items[Cuboid] = Field(default_factory=list)


class PointSegmentationFile(WireModel):
    """A lidarsegmentation file: ``point_objects[frame][point]`` is an index of ``objects``, 0 for none."""

    objects: Annotated[Items[dict[str, Any]], Field(validation_alias=AliasChoices("objects", "labels"))] = Field(
        default_factory=list
    )
    point_objects: Annotated[
        Items[list[int]], Field(validation_alias=AliasChoices("point_objects", "point_labels"))
    ] = Field(default_factory=list)


def video_frames(content: bytes) -> list[VideoFrame]:
    """The frames of a videoannotation file."""
    return TypeAdapter(list[VideoFrame]).validate_json(content)


def playback_objects(content: bytes) -> dict[str, TrackedObject]:
    """The objects of a videoplaybackannotation file, by uuid."""
    parts = TypeAdapter(list[PlaybackFile]).validate_json(content)
    return {uuid: tracked for part in parts for uuid, tracked in part.annotations.items()}


def events(content: bytes) -> list[Event]:
    """The events of a video."""
    return TypeAdapter(list[Event]).validate_json(content)


def lidar_frames(content: bytes) -> list[LidarFrame]:
    """The frames of a lidarannotation file."""
    return TypeAdapter(list[LidarFrame]).validate_json(content)


def point_segmentation(content: bytes) -> PointSegmentationFile:
    """A lidarsegmentation file."""
    return PointSegmentationFile.model_validate_json(content)
