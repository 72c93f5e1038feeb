"""Where a task's truth comes from: what the customer expects, what the sandbox knows, or what a pre-label claims.

The shipped data set is found by the bytes of an attachment, so that it is recognised under whatever name, address or
``scaledata://`` id it was uploaded. Pre-labels and expected responses are read by ``truth_reading``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

from scale_mcp.sandbox import data, media
from scale_mcp.sandbox.facts import (
    Block,
    DocumentTruth,
    LidarTruth,
    PictureTruth,
    Size,
    Span,
    TextTruth,
    TrueObject,
    Truth,
    VideoTruth,
)
from scale_mcp.sandbox.params import attachments_of
from scale_mcp.sandbox.truth_reading import read_json, read_response

__all__ = ["Block", "DocumentTruth", "LidarTruth", "PictureTruth", "Span", "TextTruth", "TrueObject", "Truth"]
__all__ += ["VideoTruth", "attachment_size", "find_truth"]

FileBytes = Callable[[str], bytes | None]
DATA_PATH = "/_sandbox/data/"
VIDEO_TYPES = ("videoannotation", "videoplaybackannotation", "videoboxannotation", "videocuboidannotation")
LIDAR_TYPES = ("lidarannotation", "lidarsegmentation", "lidarlinking")


def find_truth(
    task: Mapping[str, Any],
    file_bytes: FileBytes,
    *,
    task_of: Callable[[str], Mapping[str, Any] | None] | None = None,
) -> Truth | None:
    """The truth about a task's material, or None.

    Looked for in this order: an expected response (of an evaluation or training task, or in the metadata), the shipped
    data set, then the task's own ``hypothesis`` or ``base_annotations``. ``file_bytes`` gives the bytes behind the URL
    of an attachment or of a response file, or None; ``task_of`` gives a task by id, for segmentations that build on a
    finished lidar task.
    """
    params = task.get("params") or {}
    files = _Files(file_bytes)
    kind = str(task.get("type", ""))
    for holder in (task, task.get("metadata"), params):
        expected = holder.get("expected_response") if isinstance(holder, Mapping) else None
        if isinstance(expected, Mapping):
            found = read_response(kind, expected, params, files.read, "expected_response")
            if found is not None:
                return _with_size(found, params, files)
    earlier = task_of(str(params["lidar_task"])) if task_of and params.get("lidar_task") else None
    fixture = _built_on(earlier, params, files) if earlier else _fixture(kind, params, files)
    if fixture is not None:
        return fixture
    for name in ("hypothesis", "base_annotations"):
        claimed = params.get(name)
        if isinstance(claimed, Mapping):
            found = read_response(kind, claimed, params, files.read, "hypothesis")
            if found is not None:
                return _with_size(found, params, files)
    return None


def attachment_size(task: Mapping[str, Any], file_bytes: FileBytes) -> Size | None:
    """Width and height of the picture a task is about, when its bytes are at hand."""
    files = _Files(file_bytes)
    for url in attachments_of(task.get("params") or {}):
        content = files.read(url)
        if content is not None:
            return media.picture_size(content)
    return None


class _Files:
    """Bytes behind URLs: the data set under the sandbox's own address, everything else from the caller."""

    def __init__(self, file_bytes: FileBytes) -> None:
        self._file_bytes = file_bytes

    def read(self, url: str) -> bytes | None:
        if "://" not in url:
            return None
        path = urlsplit(url).path
        if url.startswith(("http://", "https://")) and path.startswith(DATA_PATH):
            item = data.read(unquote(path.removeprefix(DATA_PATH)))
            if item is not None:
                return item.content
        return self._file_bytes(url)

    def known(self, url: str) -> Truth | None:
        content = self.read(url)
        return None if content is None else data.known(content)


def _built_on(earlier: Mapping[str, Any], params: Mapping[str, Any], files: _Files) -> Truth | None:
    """The frames chosen of a finished lidar task, with the cuboids it was answered with."""
    frames = list(attachments_of(earlier.get("params") or {}))
    url = ((earlier.get("response") or {}).get("annotations") or {}).get("url")
    answered = read_json(files.read(url)) if isinstance(url, str) else None
    given = params.get("lidar_task_frames")
    chosen = given if isinstance(given, list) else range(len(frames))
    numbers = [number for number in chosen if isinstance(number, int) and 0 <= number < len(frames)]
    scene = _known_scene({"attachments": [frames[number] for number in numbers]}, files)
    known = scene.lidar.frames if scene and scene.lidar else (None,) * len(numbers)
    kept = None
    if isinstance(answered, list):
        kept = tuple(answered[number] if number < len(answered) else {"cuboids": []} for number in numbers)
    return Truth("fixture", scene.name if scene else None, lidar=LidarTruth(known, kept)) if numbers else None


def _fixture(kind: str, params: Mapping[str, Any], files: _Files) -> Truth | None:
    if kind == "namedentityrecognition":
        return _known_text(str(params.get("text", "")))
    if kind == "textcollection":
        return _known_collection(params, files)
    if kind in VIDEO_TYPES:
        return _known_video(params, files)
    if kind in LIDAR_TYPES:
        return _known_scene(params, files)
    if kind == "documenttranscription":
        return _known_document(params, files)
    return next((found for url in attachments_of(params) if (found := files.known(url)) is not None), None)


def _known_text(text: str) -> Truth | None:
    """A text is known whatever white space surrounds it; the spans move along."""
    found = data.known(text.strip().encode())
    if found is None or found.text is None:
        return None
    margin = len(text) - len(text.lstrip())
    spans = tuple(replace(span, start=span.start + margin, end=span.end + margin) for span in found.text.spans)
    return replace(found, text=replace(found.text, spans=spans))


def _known_collection(params: Mapping[str, Any], files: _Files) -> Truth | None:
    """The answers known about any of the attachments, which may be texts as well as files."""
    answers: dict[str, Any] = {}
    names = []
    for content in attachments_of(params):
        found = files.known(content) if "://" in content[:20] else data.known(content.strip().encode())
        if found is not None and found.answers:
            answers |= found.answers
            names.append(found.name or "")
    return Truth("fixture", ", ".join(names), answers=answers) if answers else None


def _known_video(params: Mapping[str, Any], files: _Files) -> Truth | None:
    """A known video, or known pictures sent as its frames."""
    frames: list[tuple[TrueObject, ...] | None] = []
    names: list[str] = []
    size: Size | None = None
    for url in attachments_of(params):
        found = files.known(url)
        if found is not None and found.video is not None:
            return found
        picture = found.picture if found else None
        frames.append(picture.objects if picture else None)
        size = size or (picture.size if picture else None)
        if found is not None and picture is not None and found.name and found.name not in names:
            names.append(found.name)
    if not any(frame is not None for frame in frames):
        return None
    numbers = tuple(range(len(frames)))
    return Truth("fixture", ", ".join(names), video=VideoTruth(tuple(frames), numbers, size=size))


def _known_scene(params: Mapping[str, Any], files: _Files) -> Truth | None:
    found = [files.known(url) for url in attachments_of(params)]
    frames = tuple(one.lidar.frames[0] if one and one.lidar else None for one in found)
    name = next((one.name for one in found if one and one.lidar), None)
    return Truth("fixture", name, lidar=LidarTruth(frames)) if any(frames) else None


def _known_document(params: Mapping[str, Any], files: _Files) -> Truth | None:
    """The blocks of every known page, numbered in the order of the attachments."""
    blocks: list[Block] = []
    pages: list[Size | None] = []
    name = None
    for url in attachments_of(params):
        content = files.read(url)
        found = data.known(content) if content is not None else None
        if content is None or found is None or found.document is None:
            pages.append(media.picture_size(content) if content is not None else None)
            continue
        name = name or found.name
        first = len(pages)
        blocks += [replace(block, page=block.page + first) for block in found.document.blocks]
        pages += found.document.pages
    return Truth("fixture", name, document=DocumentTruth(tuple(blocks), tuple(pages))) if blocks else None


def _with_size(truth: Truth, params: Mapping[str, Any], files: _Files) -> Truth:
    """A truth that came as coordinates, completed by the size of the picture they lie in."""
    if (truth.picture is None or truth.picture.size) and (truth.document is None or truth.document.pages):
        return truth
    sizes: list[Size | None] = []
    for url in attachments_of(params):
        content = files.read(url)
        sizes.append(media.picture_size(content) if content is not None else None)
    if truth.picture is not None:
        truth = replace(truth, picture=replace(truth.picture, size=next((size for size in sizes if size), None)))
    if truth.document is not None and any(sizes):
        truth = replace(truth, document=replace(truth.document, pages=tuple(sizes)))
    return truth
