"""Uploaded files: reading a multipart body, guessing what a file is, and keeping its bytes.

The bytes live in the sandbox's own database, apart from the rows that are listed, so that a list never reads them.
"""

from __future__ import annotations

import json
import mimetypes
from dataclasses import dataclass, field
from email.message import Message
from typing import TYPE_CHECKING, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from scale_mcp.models.limits import FILE_BYTES, FILE_METADATA_BYTES
from scale_mcp.sandbox import decisions, ids
from scale_mcp.sandbox.http import ApiError, invalid
from scale_mcp.sandbox.store import Store, dumps

if TYPE_CHECKING:
    from sqlite3 import Row

    from python_multipart.multipart import MultipartCallbacks

MAX_FIELD_BYTES = 64_000
MAX_PARTS = 64
DEFAULT_MIME_TYPE = "application/octet-stream"
SCHEME = "scaledata://"

SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    attachment_url TEXT NOT NULL UNIQUE,
    file_name TEXT NOT NULL,
    display_name TEXT,
    project TEXT,
    reference_id TEXT,
    metadata TEXT NOT NULL,
    mime_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS files_by_reference ON files (account_id, reference_id)
    WHERE reference_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS files_by_project ON files (account_id, project, position);
CREATE TABLE IF NOT EXISTS file_metadata (
    account_id TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (account_id, name, value, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS file_contents (
    file_id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL,
    content BLOB NOT NULL
);
"""

# First bytes that give a file away, whatever its name says.
MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"%PDF-", "application/pdf"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"OggS", "application/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"PK\x03\x04", "application/zip"),
)


@dataclass
class Part:
    """One part of a multipart body. ``file_name`` is given for files only."""

    name: str = ""
    file_name: str | None = None
    content_type: str | None = None
    content: bytearray = field(default_factory=bytearray)

    @property
    def text(self) -> str:
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            raise invalid(f'"{self.name}" must be UTF-8 text') from None


class _PartReader:
    """Collects the parts that the streaming parser reports, and stops at the first byte above a limit."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.is_complete = False
        self._header_name = bytearray()
        self._header_value = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._part_begins,
            "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
            "on_header_end": self._header_ends,
            "on_part_data": self._part_data,
            "on_end": self._ends,
        }

    def _ends(self) -> None:
        self.is_complete = True

    def _part_begins(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise ApiError(400, f"A form may have at most {MAX_PARTS} parts.")
        self.parts.append(Part())

    def _header_ends(self) -> None:
        name, value = bytes(self._header_name).lower(), bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()
        part = self.parts[-1]
        if name == b"content-disposition":
            options = parse_options_header(value)[1]
            part.name = options.get(b"name", b"").decode(errors="replace")
            if b"filename" in options:
                part.file_name = options[b"filename"].decode(errors="replace")
        elif name == b"content-type":
            part.content_type = value.decode("latin-1")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        part = self.parts[-1]
        is_file = part.file_name is not None
        if len(part.content) + end - start > (FILE_BYTES if is_file else MAX_FIELD_BYTES):
            if is_file:
                raise ApiError(
                    decisions.FILE_TOO_LARGE.value, f"The file is too large: at most {FILE_BYTES // 1_000_000} MB."
                )
            raise invalid(f'"{part.name}" is longer than {MAX_FIELD_BYTES} bytes')
        part.content += data[start:end]


def read_form(content_type: str, body: bytes) -> dict[str, Part]:
    """The parts of a ``multipart/form-data`` body by name; of parts with one name the last wins.

    400 for anything that is not a complete multipart body, 413 for a file above 80 MB.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise ApiError(400, "The request must be multipart/form-data with a boundary.")
    reader = _PartReader()
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(body)
    except FormParserError as error:
        raise ApiError(400, f"The multipart body cannot be read: {error}") from None
    if not reader.is_complete:
        raise ApiError(400, "The multipart body ends too early.")
    return {part.name: part for part in reader.parts}


def mime_type_of(file_name: str, content: bytes = b"", declared: str | None = None) -> str:
    """What a file is: by its first bytes, else by its name, else as declared, else ``application/octet-stream``."""
    for offset, magic, mime_type in MAGIC:
        if content[offset : offset + len(magic)] == magic:
            return mime_type
    guessed = mimetypes.guess_type(file_name)[0]
    if guessed:
        return guessed
    if declared:
        message = Message()
        message["content-type"] = declared
        return message.get_content_type()
    return DEFAULT_MIME_TYPE


def metadata_of(value: object) -> dict[str, Any]:
    """The metadata of a file, given as an object or as its JSON text. 400 above 8 kB or when it is no object."""
    if value is None or value == "":
        return {}
    found = json_object(value, "metadata") if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise invalid('"metadata" must be a JSON object')
    if len(dumps(found).encode()) > FILE_METADATA_BYTES:
        raise invalid(f'"metadata" is longer than {FILE_METADATA_BYTES} bytes')
    return found


def json_object(text: str, name: str) -> dict[str, Any]:
    """The object in a JSON text; 400 for any other text, also for what only Python takes for JSON."""

    def no_constant(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    try:
        value = json.loads(text, parse_constant=no_constant)
        dumps(value).encode()  # half a surrogate pair can be written in JSON, but not be stored or sent back
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise invalid(f'"{name}" must be a JSON object as a string')
    return value


def canonical(value: object) -> str:
    """One spelling per JSON value, so that equal values are equal texts."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class NewFile:
    """A file to keep. ``content`` is None when its bytes are not here (an import by URL without a fetch)."""

    file_name: str
    content: bytes | None
    mime_type: str
    display_name: str | None = None
    project_name: str | None = None
    reference_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


def keep(store: Store, account_id: str, file: NewFile, now: str) -> dict[str, Any]:
    """Store a file and give Scale's object for it. 409 when its ``reference_id`` is taken."""
    if file.reference_id is not None:
        used = store.one(
            "SELECT id FROM files WHERE account_id = ? AND reference_id = ?", (account_id, file.reference_id)
        )
        if used is not None:
            text = f'The reference_id ("{file.reference_id}") is already used for a different file ({used["id"]}).'
            raise ApiError(409, text)
    file_id = ids.uuid()
    with store.transaction():
        store.execute(
            "INSERT INTO files (account_id, id, attachment_url, file_name, display_name, project, reference_id,"
            " metadata, mime_type, size, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                account_id,
                file_id,
                f"{SCHEME}{account_id}/{file_id}",
                file.file_name,
                file.display_name,
                file.project_name,
                file.reference_id,
                dumps(file.metadata),
                file.mime_type,
                len(file.content or b""),
                now,
                now,
            ),
        )
        row = store.query("SELECT * FROM files WHERE id = ?", (file_id,))[0]
        for name, value in file.metadata.items():
            entry = (account_id, name, canonical(value), row["position"])
            store.execute("INSERT INTO file_metadata VALUES (?, ?, ?, ?)", entry)
        if file.content is not None:
            store.execute("INSERT INTO file_contents VALUES (?, ?, ?)", (file_id, account_id, file.content))
    return describe(row)


def describe(row: Row) -> dict[str, Any]:
    """Scale's File object for a stored row (decisions.FILE_ID, FILE_PROJECT_IS_FREE)."""
    shown = {
        "id": row["id"],
        "attachment_url": row["attachment_url"],
        "mime_type": row["mime_type"],
        "size": row["size"],
        "project_names": [] if row["project"] is None else [row["project"]],
        "metadata": json.loads(row["metadata"]),
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }
    for name in ("display_name", "reference_id"):
        if row[name] is not None:
            shown[name] = row[name]
    return shown


def file_of(store: Store, account_id: str, attachment_url: str) -> Row | None:
    """The stored row behind a ``scaledata://`` URL of this account, or none."""
    return store.one("SELECT * FROM files WHERE attachment_url = ? AND account_id = ?", (attachment_url, account_id))


def content_of(store: Store, account_id: str, attachment_url: str) -> bytes | None:
    """The bytes behind a ``scaledata://`` URL of this account; none when it is unknown or was imported by URL only."""
    row = file_of(store, account_id, attachment_url)
    return None if row is None else content_by_id(store, row["id"])


def content_by_id(store: Store, file_id: str) -> bytes | None:
    """The bytes of any account's file: its id is a secret of the account, like a pre-signed URL."""
    row = store.one("SELECT content FROM file_contents WHERE file_id = ?", (file_id,))
    return None if row is None else bytes(row["content"])
