"""What is known to be true about something to label: labels and coordinates, wherever they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from scale_mcp.sandbox import decisions
from scale_mcp.sandbox.geometry import Shape

Source = Literal["expected_response", "fixture", "hypothesis"]
Size = tuple[int, int]  # width, height in pixels


def folded(name: str) -> str:
    """A name as it is compared: without regard to case, spaces, hyphens and underscores."""
    return "".join(letter for letter in name.casefold() if letter not in decisions.LABELS_MATCH.value)


@dataclass(frozen=True)
class TrueObject:
    """One thing in a picture, a frame or a scene. ``key`` is the same wherever the same thing is seen.

    ``shapes`` maps a geometry name (box, polygon, line, point, ellipse, cuboid, or cuboid3d for a scene) to the fields
    Scale writes for it.
    """

    key: str
    label: str | None
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    mask: bytes | None = None  # a 1-channel PNG of the picture's size, 0 outside
    rest: bool = False  # everything that no other object covers: the background of a segmentation

    def called(self, name: str) -> bool:
        """Whether a task that asks for ``name`` means this object."""
        names = (self.label, *self.aliases) if self.label is not None else self.aliases
        return any(folded(own) == folded(name) for own in names)


@dataclass(frozen=True)
class PictureTruth:
    objects: tuple[TrueObject, ...]
    size: Size | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)  # of the scene as a whole


@dataclass(frozen=True)
class VideoTruth:
    """Objects by frame; None for a frame of which nothing is known.

    ``numbers`` are the frames' numbers in the source video and ``rate`` its frames per second. ``sampled`` says that
    the frames are those to annotate already, rather than all of the video.
    """

    frames: tuple[tuple[TrueObject, ...] | None, ...]
    numbers: tuple[int, ...]
    rate: float = 1.0
    size: Size | None = None
    events: tuple[Mapping[str, Any], ...] = ()
    sampled: bool = True


@dataclass(frozen=True)
class LidarFrame:
    """Cuboids of one sweep. ``points`` names the object of each point (None: no object); empty when unknown."""

    objects: tuple[TrueObject, ...]
    points: tuple[str | None, ...] = ()
    places: tuple[tuple[float, float, float], ...] = ()
    device: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class LidarTruth:
    """Frames in order, None where nothing is known. ``kept``: frames of cuboids that an earlier task answered with."""

    frames: tuple[LidarFrame | None, ...]
    kept: tuple[Mapping[str, Any], ...] | None = None


@dataclass(frozen=True)
class Span:
    """Characters ``start`` to ``end``, the end not included, counted in code points."""

    key: str
    label: str
    start: int
    end: int
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TextTruth:
    spans: tuple[Span, ...]
    relations: tuple[tuple[str, str, str | None], ...] = ()  # key of the source, key of the target, name
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """One transcribed piece of a document. ``refs`` are keys of other blocks; ``extras`` money, date, checked."""

    key: str
    label: str
    text: str
    location: Mapping[str, Any]
    page: int = 0
    refs: tuple[str, ...] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DocumentTruth:
    blocks: tuple[Block, ...]
    pages: tuple[Size | None, ...] = ()


@dataclass(frozen=True)
class Truth:
    """Everything known about a task's material. A part is None when nothing of that kind is known."""

    source: Source
    name: str | None = None  # of the fixture
    picture: PictureTruth | None = None
    video: VideoTruth | None = None
    lidar: LidarTruth | None = None
    text: TextTruth | None = None
    document: DocumentTruth | None = None
    answers: Mapping[str, Any] | None = None  # by field of a text collection, or by key of a legacy response
