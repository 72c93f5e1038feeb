"""Files: upload, import by URL, and the list of a project's files."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from scale_mcp.sandbox import decisions, uploads
from scale_mcp.sandbox.cursors import read_token, token_after
from scale_mcp.sandbox.http import LOOPBACK, ApiError, Reply, Request, Route, invalid, required

DATA_PATH = re.compile(r"/_sandbox/data/([^/]+)")
CONTENT_PATH = re.compile(r"/_sandbox/files/([^/]+)/content")


def upload(request: Request) -> Reply:
    """``POST /files/upload``: one file and its fields as multipart/form-data."""
    form = uploads.read_form(request.headers.get("content-type", ""), request.body)
    part = form.get("file")
    if part is None:
        raise required("file")
    fields = {name: each.text for name, each in form.items() if name != "file" and each.text}
    file_name = PurePosixPath((part.file_name or "file").replace("\\", "/")).name or "file"
    content = bytes(part.content)
    return _keep(request, file_name, content, uploads.mime_type_of(file_name, content, part.content_type), fields)


def import_file(request: Request) -> Reply:
    """``POST /files/import``: a file by its URL. Nothing is fetched from the network (see ``_fetch``)."""
    body = request.object()
    url = body.get("file_url")
    if not isinstance(url, str) or not url:
        raise required("file_url")
    file_name, content = _fetch(request, url)
    return _keep(request, file_name, content, uploads.mime_type_of(file_name, content or b""), body)


def _keep(request: Request, file_name: str, content: bytes | None, mime_type: str, fields: dict[str, Any]) -> Reply:
    for name in ("display_name", "project_name", "reference_id"):
        if name in fields and not isinstance(fields[name], str):
            raise invalid(f'"{name}" must be a string')
    file = uploads.NewFile(
        file_name=file_name,
        content=content,
        mime_type=mime_type,
        display_name=fields.get("display_name") or None,
        project_name=fields.get("project_name") or None,
        reference_id=fields.get("reference_id") or None,
        metadata=uploads.metadata_of(fields.get("metadata")),
    )
    return Reply(uploads.keep(request.sandbox.store, request.account.id, file, request.sandbox.clock.iso()))


def _fetch(request: Request, url: str) -> tuple[str, bytes | None]:
    """The file name and the bytes behind a URL, as far as they can be known without the network.

    The sandbox's own files and data set, and ``scaledata://`` URLs, give their bytes. Any other http(s) URL is taken
    on trust: the file is recorded by name, without content. Only the reserved broken host cannot be fetched.
    """
    store = request.sandbox.store
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        raise ApiError(400, "file_url is not a URL.") from None
    if parts.scheme == "scaledata":
        row = uploads.file_of(store, request.account.id, url)
        if row is None:
            raise _unreachable(url)
        return row["file_name"], uploads.content_by_id(store, row["id"])
    if parts.scheme not in ("http", "https") or not host or re.search(r"\s", url):
        raise ApiError(400, "file_url must be a full http or https URL.")
    if host == decisions.IMPORT_WITHOUT_FETCH.value:
        raise _unreachable(url)
    if host in LOOPBACK or host == urlsplit(request.base_url).hostname:
        return _own_file(request, parts.path, url)
    return unquote(PurePosixPath(parts.path).name) or host, None


def _own_file(request: Request, path: str, url: str) -> tuple[str, bytes | None]:
    """A file that the sandbox itself serves under ``/_sandbox/``; another loopback URL is taken on trust, too."""
    if found := DATA_PATH.fullmatch(path):
        name = unquote(found[1])
        content = data_file(name)
    elif found := CONTENT_PATH.fullmatch(path):
        row = request.sandbox.store.one("SELECT file_name FROM files WHERE id = ?", (found[1],))
        name = row["file_name"] if row is not None else ""
        content = uploads.content_by_id(request.sandbox.store, found[1])
    else:
        return unquote(PurePosixPath(path).name) or "file", None
    if content is None:
        raise _unreachable(url)
    return name, content


def data_file(name: str) -> bytes | None:
    """One file of the shipped data set, by its name."""
    from scale_mcp.sandbox import data

    item = data.read(name)
    return None if item is None else item.content


def _unreachable(url: str) -> ApiError:
    return ApiError(400, f"The file could not be downloaded from {url}.")


def list_files(request: Request) -> Reply:
    """``GET /files``: the files of one project, newest first, optionally those with all the given metadata.

    See decisions.FILE_LIST and FILE_METADATA_FILTER.
    """
    project = request.one("project")
    if not project:
        raise required("project")
    limit = request.integer("limit", 100, 1, 100)
    after, _ = read_token(request.one("cursor") or request.one("next_token"))
    # Only fixed fragments are put together here; every value is an argument.
    where, args = "account_id = ? AND project = ?", [request.account.id, project]
    wanted = request.one("metadata")
    for name, value in (uploads.json_object(wanted, "metadata") if wanted else {}).items():
        where += " AND position IN (SELECT position FROM file_metadata WHERE account_id = ? AND name = ? AND value = ?)"
        args += [request.account.id, name, uploads.canonical(value)]
    store = request.sandbox.store
    total = store.value(f"SELECT count(*) FROM files WHERE {where}", args)  # noqa: S608
    page = f"{where} AND position < ?" if after is not None else where
    rows = store.query(
        f"SELECT * FROM files WHERE {page} ORDER BY position DESC LIMIT ?",  # noqa: S608
        [*args, *([after] if after is not None else []), limit + 1],
    )
    answer: dict[str, Any] = {
        "docs": [uploads.describe(row) for row in rows[:limit]],
        "total": total,
        "limit": limit,
        "has_more": len(rows) > limit,
    }
    if answer["has_more"]:
        # The documentation pages by `cursor`, others by `next_token`: one token under both names.
        answer["next_token"] = answer["cursor"] = token_after(rows[limit - 1]["position"])
    return Reply(answer)


ROUTES = [
    Route("POST", "/files/upload", upload, "upload_file", "Upload a file"),
    Route("POST", "/files/import", import_file, "import_file", "Import a file by its URL"),
    Route("GET", "/files", list_files, "list_files", "List the files of a project"),
]
