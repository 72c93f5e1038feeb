"""Files: bringing data to Scale, and finding it there."""

from __future__ import annotations

import json
import os
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import IO, Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field

from scale_mcp.models.checks import Checked, Problem, exactly_one, refuse
from scale_mcp.models.field_types import FileMetadata, Name, Text, WebAddress
from scale_mcp.models.files import File
from scale_mcp.models.limits import FILE_BYTES
from scale_mcp.tools.card import Call, ToolFailure, ToolOutput, tool
from scale_mcp.tools.fitting import compact, quoted, shorten
from scale_mcp.tools.folders import open_below
from scale_mcp.tools.outputs import Entry, Listing, by_rows, entries
from scale_mcp.tools.parameters import ProjectName


class FileResult(ToolOutput):
    id: str
    attachment_url: str | None = Field(None, description="Use it as the attachment of tasks")
    mime_type: str | None = None
    size: int | None = Field(None, description="Bytes")
    display_name: str | None = None
    reference_id: str | None = None
    project_names: list[str] | None = None
    metadata: Any = None
    created_at: str | None = None
    shortened: list[str] | None = None

    def text(self) -> str:
        lines = [f"File {self.id}: {self.mime_type}, {self.size} bytes. attachment_url: {self.attachment_url}"]
        lines += [
            f"{name}: {quoted(value, 120)}"
            for name in ("display_name", "reference_id")
            if (value := getattr(self, name))
        ]
        if self.project_names:
            lines.append(f"projects: {quoted(', '.join(self.project_names), 200)}")
        if self.metadata:
            lines.append(f"metadata: {compact(shorten(self.metadata, 600)[0])}")
        return "\n".join(lines)


def _file_result(file: File) -> FileResult:
    fields, notes = shorten(file.to_wire(), 6_000)
    stored = FileResult.model_validate({**fields, "shortened": notes or None})
    return stored.then("Next: give its attachment_url as the attachment of a task.")


def _parsed(value: Any) -> Any:
    """Metadata as Scale's form takes it, a JSON text, is read as the object that it means."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            raise refuse("must be an object, or a JSON text of one; this text is not JSON") from None
    return value


Metadata = Annotated[FileMetadata, BeforeValidator(_parsed)]


def _plain_name(name: str) -> str:
    if "/" in name or "\\" in name or any(ord(character) < 32 for character in name) or len(name) > 255:
        raise refuse("must be a plain file name of at most 255 characters, without folders")
    return name


def _mime_type(text: str) -> str:
    if not re.fullmatch(r"[\w.+-]{1,100}/[\w.+-]{1,100}", text):
        raise refuse("must be a MIME type such as image/png")
    return text


class Upload(Checked):
    """What ``upload_file`` takes."""

    path: Text | None = Field(None, description="File in the operator's upload folder")
    file_base64: Text | None = Field(None, description="Or content, with file_name")
    file_name: (
        Annotated[Text, BeforeValidator(lambda name: _plain_name(name) if isinstance(name, str) else name)] | None
    ) = Field(None, description="E.g. street.png")
    mime_type: Annotated[str, AfterValidator(_mime_type)] | None = Field(None, description="E.g. image/png")
    display_name: Text | None = Field(None, description="Shown name")
    project_name: Name | None = Field(None, description="Project (Rapid)")
    reference_id: Text | None = Field(None, description="Own id; repeats are refused")
    metadata: Metadata | None = Field(None, description="Own data, max 8 kB")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from exactly_one(given, "path", "file_base64")
        content = given.get("file_base64")
        if isinstance(content, str):
            if "file_name" not in given:
                yield Problem(("file_name",), "is missing; `file_base64` needs it")
            if content.startswith("data:"):
                yield Problem(("file_base64",), "must be the base64 alone, without `data:…,` before it")
            elif len(content) * 3 // 4 > FILE_BYTES + 2:
                yield Problem(("file_base64",), "holds more than 80 MB, the most that Scale takes; use import_file")
            elif _decoded(content) is None:
                yield Problem(("file_base64",), "is not valid base64")

    def content(self) -> bytes | None:
        return _decoded(self.file_base64) if self.file_base64 else None


def _decoded(content: str) -> bytes | None:
    try:
        return b64decode("".join(content.split()), validate=True)
    except ValueError:
        return None


@tool(
    title="Upload a file",
    toolset="files",
    risk="write",
    keywords=("upload", "local file", "image", "send file", "add data", "attachment", "base64"),
    action="SCALE_AI_UPLOAD_FILE",
)
async def upload_file(call: Call, upload: Upload) -> FileResult:
    """Upload at most 80 MB from base64 or a local path. Returns an attachment_url for tasks; data on the web needs
    none."""
    if (content := upload.content()) is not None:
        return await _send(call, upload, content, upload.file_name or "file")
    path = upload.path or ""
    if call.upload_root is None:
        raise ToolFailure(
            "Nothing was sent: this server may not read local files. Send the content as file_base64, or let the "
            "operator name a folder with --upload-root (SCALE_MCP_UPLOAD_ROOT)."
        )
    with open_below(call.upload_root, path) as file:
        size = os.fstat(file.fileno()).st_size
        if not 0 < size <= FILE_BYTES:
            what = f"has {size:,} bytes, and Scale takes at most 80 MB ({FILE_BYTES:,} bytes)" if size else "is empty"
            raise ToolFailure(f"Nothing was sent: the file {quoted(path, 120)} {what}.")
        return await _send(call, upload, file, upload.file_name or path.rsplit("/", 1)[-1])


async def _send(call: Call, upload: Upload, source: bytes | IO[bytes], name: str) -> FileResult:
    async def progress(sent: int, size: int) -> None:
        await call.progress(sent, size, f"Uploaded {sent} of {size} bytes")

    file = await call.api.files.upload(
        source,
        file_name=name,
        mime_type=upload.mime_type,
        display_name=upload.display_name,
        project_name=upload.project_name,
        reference_id=upload.reference_id,
        metadata=upload.metadata,
        on_progress=progress,
    )
    return _file_result(file)


@tool(
    title="Import a file",
    toolset="files",
    risk="write",
    keywords=("import", "from url", "web", "fetch", "add data", "attachment"),
    action="SCALE_AI_IMPORT_FILE",
)
async def import_file(
    call: Call,
    *,
    file_url: Annotated[WebAddress, Field(description="URL that Scale can reach")],
    project_name: Annotated[Name | None, Field(description="Project (Rapid)")] = None,
    reference_id: Annotated[Text | None, Field(description="Own id; repeats are refused")] = None,
    metadata: Annotated[Metadata | None, Field(description="Own data, max 8 kB")] = None,
) -> FileResult:
    """Let Scale copy a file from a URL. Returns an attachment_url for tasks."""
    return _file_result(
        await call.api.files.import_url(
            file_url, project_name=project_name, reference_id=reference_id, metadata=metadata
        )
    )


class FileEntry(Entry):
    id: str | None = None
    attachment_url: str | None = None
    display_name: str | None = None
    mime_type: str | None = None
    size: int | None = None
    reference_id: str | None = None


class FileList(Listing):
    nouns: ClassVar[tuple[str, str]] = ("file", "files")

    docs: list[FileEntry]
    cursor: str | None = None
    next_offset: int | None = None


COLUMNS = ("attachment_url", "display_name", "mime_type", "size", "reference_id", "id")


def _as_text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict) else value


def _json_object(text: str) -> str:
    if not isinstance(_parsed(text), dict):
        raise refuse('must be an object, or a JSON text of one, such as {"camera": "3"}')
    return text


@tool(
    title="List files",
    toolset="files",
    risk="read",
    keywords=("assets", "uploads", "images", "attachments", "data of project", "find file"),
    action="SCALE_AI_GET_ASSETS",
)
async def list_assets(
    call: Call,
    *,
    project: ProjectName,
    metadata: Annotated[
        Annotated[str, AfterValidator(_json_object)] | None,
        BeforeValidator(_as_text),
        Field(description='JSON filter, {"key":"value"}'),
    ] = None,
    cursor: Annotated[Text | None, Field(description="From the page before")] = None,
    offset: Annotated[int, Field(ge=0, description="Files to skip")] = 0,
) -> FileList:
    """List a project's files with attachment_urls. Go on with offset, then cursor, as the note says."""
    page = await call.api.files.page(project, metadata=metadata, cursor=cursor)
    rows = entries(page.docs, COLUMNS)
    for row in rows:
        if row.get("id", "") in row.get("attachment_url", ""):
            del row["id"]  # said already
    found = by_rows(FileList, rows, offset=offset)
    following = page.cursor if found.next_offset is None and page.has_more is not False else None
    if following:
        found.note = f"More: go on with cursor {following} and without offset."
    found.total, found.cursor, found.has_more = page.total, following, found.has_more or following is not None
    return found
