"""Result files of tasks: saved to a folder, or summed up in a few words. Never poured into the conversation."""

from __future__ import annotations

import json
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Annotated, Any

import anyio.to_thread
from pydantic import Field

from scale_mcp.api import ResponseStream
from scale_mcp.models.field_types import Identifier, Text
from scale_mcp.text import clean, one_line
from scale_mcp.tools.card import Call, ToolFailure, ToolOutput, tool
from scale_mcp.tools.fitting import compact, outline, quoted, shorten
from scale_mcp.tools.folders import check_new_file_below, new_file_below
from scale_mcp.tools.parameters import TaskId

MAX_READ = 8 * 1024 * 1024  # bytes read for a summary; more is for saving
PREVIEW_CHARACTERS = 1_500  # of JSON or text, in structure and text each
COLOR_TYPES = {0: "grayscale", 2: "RGB", 3: "palette", 4: "grayscale and alpha", 6: "RGBA"}


class ResponseResult(ToolOutput):
    task_id: str
    uuid: str
    content_type: str
    size: int | None = Field(None, description="Bytes")
    saved_as: str | None = Field(None, description="Path below the operator's download folder")
    outline: str | None = Field(None, description="Shape of the JSON")
    preview: Any = Field(None, description="Beginning of the content")
    complete: bool = Field(default=False, description="preview is the whole content")
    picture: str | None = Field(None, description="Width, height and mode")
    note: str | None = None

    def text(self) -> str:
        size = f"{self.size} bytes" if self.size is not None else "of unknown size"
        lines = [f"Result file {self.uuid} of task {self.task_id}: {self.content_type}, {size}."]
        if self.saved_as:
            lines.append(f"Saved as {quoted(self.saved_as)} in the download folder.")
        if self.picture:
            lines.append(f"Picture: {self.picture}.")
        if self.outline and not self.complete:
            lines.append(f"Shape: {self.outline[:600]}")
        if self.preview is not None:
            shown = self.preview if isinstance(self.preview, str) else compact(self.preview)
            lines.append(f"{'Content' if self.complete else 'Begins'}: {shown[:PREVIEW_CHARACTERS]}")
        return "\n".join([*lines, *filter(None, [self.note])])


@tool(
    title="Get a result file of a task",
    toolset="tasks",
    risk="read",
    keywords=("download", "result file", "mask", "frames", "large result", "export", "save", "response url"),
    action="SCALE_AI_GET_V1_TASK_RESPONSE_URL",
)
async def get_task_response(
    call: Call,
    *,
    task_id: TaskId,
    uuid: Annotated[Identifier, Field(description="Last part of the response URL")],
    save_as: Annotated[Text | None, Field(description="New file in the download folder")] = None,
) -> ResponseResult:
    """Fetch a result file (masks, video, lidar) that a task's response links to. Returns a summary; save_as stores
    it all. May need the live key."""
    if save_as is not None:
        root = _download_root(call)
        check_new_file_below(root, save_as)
    async with call.api.tasks.response(task_id, uuid) as stream:
        if save_as is not None:
            size = await _save(call, stream, root, save_as)
            found: dict[str, Any] = {"size": size, "saved_as": save_as}
        else:
            content, whole = await _read(call, stream)
            found = _summary(call.api.without_key(content), whole, stream)
    return ResponseResult.model_validate(
        {"task_id": task_id, "uuid": uuid, "content_type": one_line(stream.content_type, 100), **found}
    )


def _download_root(call: Call) -> Path:
    if call.download_root is None:
        raise ToolFailure(
            "Nothing was fetched: this server may not save files. Leave save_as out for a summary, or let the operator "
            "name a folder with --download-root (SCALE_MCP_DOWNLOAD_ROOT)."
        )
    return call.download_root


async def _save(call: Call, stream: ResponseStream, root: Path, save_as: str) -> int:
    done = 0
    with ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(new_file_below(root, save_as))
        async for chunk in stream.chunks():
            await anyio.to_thread.run_sync(file.write, chunk)
            done += len(chunk)
            await call.progress(done, stream.size, f"Saved {done} bytes")
    return done


async def _read(call: Call, stream: ResponseStream) -> tuple[bytes, bool]:
    """The first ``MAX_READ`` bytes, and whether that is all."""
    content = bytearray()
    async for chunk in stream.chunks():
        content += chunk
        await call.progress(len(content), stream.size, f"Read {len(content)} bytes")
        if len(content) > MAX_READ:
            return bytes(content[:MAX_READ]), False
    return bytes(content), True


def _summary(content: bytes, whole: bool, stream: ResponseStream) -> dict[str, Any]:
    found: dict[str, Any] = {"size": len(content) if whole else stream.size}
    if not whole:
        found["note"] = f"Only the first {MAX_READ} bytes were looked at; store all of it with save_as."
    if picture := _picture(content):
        return {**found, "picture": picture, "note": found.get("note") or "Store it with save_as."}
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return {**found, "note": found.get("note") or "Binary content; store it with save_as."}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        preview = clean(text[: 2 * PREVIEW_CHARACTERS])[:PREVIEW_CHARACTERS]
        return {**found, "preview": preview, "complete": whole and len(text) <= PREVIEW_CHARACTERS}
    preview, cuts = shorten(value, PREVIEW_CHARACTERS)
    note = f"Cut: {'; '.join(cuts)[:400]}. Store all of it with save_as." if cuts else None
    return {**found, "outline": outline(value, 4), "preview": preview, "complete": not cuts, "note": note}


def _picture(content: bytes) -> str | None:
    """What a PNG's head says."""
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 26:
        return None
    width, height, depth, color = struct.unpack(">IIBB", content[16:26])
    return f"PNG, {width} × {height} pixels, {COLOR_TYPES.get(color, 'unknown mode')}, {depth} bits per channel"
