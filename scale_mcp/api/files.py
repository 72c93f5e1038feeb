"""Files: upload, import from an address, list."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

from scale_mcp.api.client import Client
from scale_mcp.api.decode import one
from scale_mcp.api.errors import Conflict, RefusedBeforeSending, ScaleError
from scale_mcp.api.operation import Operation
from scale_mcp.api.pagination import by_token
from scale_mcp.api.recovery import settle
from scale_mcp.api.retry import Repeat
from scale_mcp.api.transfer import Progress, multipart
from scale_mcp.models.files import File, FilePage
from scale_mcp.models.limits import FILE_METADATA_BYTES
from scale_mcp.text import one_line

PAGES_SEARCHED = 10  # for a file by its reference_id; Scale has no look-up for that


class Files:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def upload(
        self,
        source: Path | bytes | IO[bytes],
        *,
        file_name: str,
        mime_type: str | None = None,
        display_name: str | None = None,
        project_name: str | None = None,
        reference_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        on_progress: Progress | None = None,
    ) -> File:
        """Upload a file of at most 80 MB, in pieces. Its size is checked before anything is sent.

        With a ``reference_id`` it is safe to repeat, since Scale takes each one only once; without, it is sent once.
        ``on_progress(sent, size)`` is awaited after each piece, in bytes.
        """
        given = {
            "display_name": display_name,
            "project_name": project_name,
            "reference_id": reference_id,
            "metadata": _as_text(metadata) if metadata is not None else None,
        }
        fields = {name: value for name, value in given.items() if value is not None}
        find_out = "list the project's files and look for it."
        async with multipart(
            fields, source, file_name=file_name, mime_type=mime_type, on_progress=on_progress
        ) as stream:
            operation = Operation(
                "POST",
                "/files/upload",
                stream=stream,
                repeat=Repeat.RECOVER if reference_id else Repeat.ONCE,
                find_out=find_out,
            )
            try:
                return await self._client.call(operation, one(File))
            except ScaleError as error:
                failure = error
        return await self._settled(failure, reference_id, project_name)

    async def import_url(
        self,
        file_url: str,
        *,
        project_name: str | None = None,
        display_name: str | None = None,
        reference_id: str | None = None,
        metadata: dict[str, Any] | str | None = None,
    ) -> File:
        """Let Scale fetch a file from an address. With a ``reference_id`` it is safe to repeat."""
        given = {
            "file_url": file_url,
            "project_name": project_name,
            "display_name": display_name,
            "reference_id": reference_id,
            "metadata": metadata,
        }
        operation = Operation(
            "POST",
            "/files/import",
            body={name: value for name, value in given.items() if value is not None},
            repeat=Repeat.RECOVER if reference_id else Repeat.ONCE,
            find_out="list the project's files and look for it.",
        )
        try:
            return await self._client.call(operation, one(File))
        except ScaleError as error:
            failure = error
        return await self._settled(failure, reference_id, project_name)

    async def page(
        self, project: str, metadata: dict[str, Any] | str | None = None, cursor: str | None = None
    ) -> FilePage:
        """One page of a project's files. ``metadata`` keeps those with these values; ``cursor`` is the last page's."""
        wanted = json.dumps(metadata) if isinstance(metadata, dict) else metadata
        query = {"project": project, "metadata": wanted, "cursor": cursor or None}
        return await self._client.call(Operation("GET", "/files", query=query), one(FilePage))

    def iterate(self, project: str, metadata: dict[str, Any] | str | None = None) -> AsyncIterator[File]:
        """All files of a project, one page in memory at a time."""

        async def turn(cursor: str | None) -> tuple[list[File], str | None, bool]:
            page = await self.page(project, metadata, cursor)
            more = page.has_more if page.has_more is not None else bool(page.cursor)
            return page.docs, page.cursor if more else None, more

        return by_token(turn)

    async def _settled(self, failure: ScaleError, reference_id: str | None, project: str | None) -> File:
        """What became of an upload in doubt. Only the list of its project can tell, if it has one."""
        if not failure.in_doubt or not reference_id:
            raise failure
        quoted = one_line(reference_id, 200)
        if isinstance(failure, Conflict) and not project:
            failure.message += " An earlier attempt of this call may have stored the file."
            failure.next_step = f'Look for reference_id "{quoted}" in the list of files before sending it again.'
            raise failure
        return await settle(
            failure,
            look_up=lambda: self._find(reference_id, project),
            difference=lambda _: None,
            name=f'file with reference_id "{quoted}"',
            find_out=f'To find out, list the project\'s files and look for reference_id "{quoted}"; sending it '
            "again with that same reference_id cannot store it twice.",
            options=self._client.options,
        )

    async def _find(self, reference_id: str, project: str | None) -> File | None:
        cursor: str | None = None
        for _ in range(PAGES_SEARCHED if project else 0):
            page = await self.page(project or "", cursor=cursor)
            for file in page.docs:
                if file.reference_id == reference_id:
                    return file
            cursor = page.cursor
            if not cursor:
                break
        return None


def _as_text(metadata: dict[str, Any]) -> str:
    """The metadata as Scale takes it in a form: a JSON text of at most 8 kB."""
    try:
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (ValueError, TypeError, RecursionError):
        text, size = "", -1
    if size < 0:
        raise RefusedBeforeSending("The metadata is not valid JSON.", next_step="Send plain values only.")
    if size > FILE_METADATA_BYTES:
        raise RefusedBeforeSending(
            f"The metadata has {size} bytes as JSON.",
            next_step=f"A file's metadata may have {FILE_METADATA_BYTES} bytes.",
        )
    return text
