"""Types of single fields: names and ids that are safe in paths, addresses, e-mail, tags, metadata with its limits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from scale_mcp.models.checks import refuse
from scale_mcp.models.limits import FILE_METADATA_BYTES, TAGS, TASK_METADATA_BYTES
from scale_mcp.models.wording import near_miss

BUCKETS = ("s3", "gs")  # their addresses are bucket and key, not percent-encoded: a key may hold spaces
ATTACHMENT_SCHEMES = ("http", "https", *BUCKETS, "scaledata")
MAX_NAME = 500  # characters; Scale documents no limit, a path has one

TASK_TYPES = (
    "imageannotation", "segmentannotation", "videoannotation", "videoplaybackannotation", "lidarannotation",
    "lidarsegmentation", "lidartopdown", "lidarlinking", "sensorfusion", "multistage", "documenttranscription",
    "namedentityrecognition", "textcollection", "categorization", "comparison", "transcription", "datacollection",
    "audiotranscription", "annotation", "polygonannotation", "lineannotation", "pointannotation", "cuboidannotation",
    "videoboxannotation", "videocuboidannotation", "laneannotation", "documentmodel", "chat", "chatexperimental",
    "chatlite", "multichat", "federal2dvideoannotation",
)  # fmt: skip

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_LOW_CONTROL = re.compile("[\x00-\x1f]")
_SPACE = re.compile(r"\s")
_PLAIN_URL = re.compile(r"(https?)://[a-z0-9-]+(?:\.[a-z0-9-]+)*/[!-~]*\Z")  # nothing of it needs a closer look


def _not_blank(text: str) -> str:
    if not text.strip():
        raise refuse("must not be empty")
    return _encodable(text)


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise refuse("holds half of a surrogate pair, which cannot be sent; correct the text") from None
    return text


def _name(text: str) -> str:
    """A project, batch or group name. It becomes part of a path, so nothing in it may climb out of one."""
    _not_blank(text)
    if _CONTROL.search(text):
        raise refuse("must not hold control characters")
    if "." in text and any(part in (".", "..") for part in re.split(r"[/\\]", text)):
        raise refuse("must not be, or hold as a path part, `.` or `..`; give the plain name")
    if len(text) > MAX_NAME:
        raise refuse(f"must have at most {MAX_NAME} characters, not {len(text)}")
    return text


def _task_type(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,60}", text):
        raise refuse("must be a task type: lower-case letters, digits and `_`, such as imageannotation")
    if (meant := near_miss(text, TASK_TYPES, 0.9)) and not text.startswith(meant):
        raise refuse(f"is no task type; did you mean {meant}?")
    return text


def _identifier(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_-]{1,128}", text):
        return text
    last = text.rstrip("/").rsplit("/", 1)[-1]
    if "://" in text and re.fullmatch(r"[A-Za-z0-9_-]{1,128}", last):
        raise refuse(f'must be the id alone, not a URL; give "{last}"')
    raise refuse("must be the bare id: letters, digits, `-` and `_`, at most 128")


def url_problem(text: str, schemes: Iterable[str] = ATTACHMENT_SCHEMES) -> str | None:
    """What is wrong with an address, or None."""
    if (plain := _PLAIN_URL.match(text)) and plain[1] in schemes:
        return None
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _encodable(text)
    except (ValueError, PydanticCustomError):
        return "is not a valid URL"
    if parts.scheme not in schemes:
        return f"must be a URL that begins with {', '.join(f'{scheme}://' for scheme in schemes)}"
    if _LOW_CONTROL.search(text) or text != text.strip():
        return "is not a valid URL: it must not hold control characters, or begin or end with a space"
    spaced = parts.scheme not in BUCKETS and _SPACE.search(text)
    if not host or spaced:
        return "is not a valid URL: it needs a host and no spaces (write %20)"
    if parts.scheme == "scaledata" and not parts.path.strip("/"):
        return "must be the whole attachment_url of an uploaded file, scaledata://owner/id"
    return None


def _attachment(text: str) -> str:
    if problem := url_problem(text):
        raise refuse(problem)
    return text


def _web_address(text: str) -> str:
    if problem := url_problem(text, ("http", "https", *BUCKETS)):
        raise refuse(problem)
    return text


def _callback(text: str) -> str:
    if "@" in text and "://" not in text:
        if not _EMAIL.fullmatch(text):
            raise refuse("is not a valid e-mail address")
    elif problem := url_problem(text, ("http", "https")):
        raise refuse(f"{problem}, or an e-mail address")
    return text


_EMAIL = re.compile(r"[^@\s<>(),;:\"]+@[^@\s<>(),;:\"]+\.[^@\s<>(),;:\".]+")


def _email(text: str) -> str:
    if not _EMAIL.fullmatch(text):
        raise refuse("is not a valid e-mail address, such as ann@example.com")
    return text


_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def json_size(value: Any) -> int:
    """Bytes of a JSON value as it goes over the wire."""
    return len(_JSON.encode(value).encode(errors="replace"))


def _size_limit(limit: int) -> Any:
    def check(value: dict[str, Any]) -> dict[str, Any]:
        if (size := json_size(value)) > limit:
            raise refuse(
                f"must take at most {limit // 1000} kB as JSON ({limit:,} bytes), not {size:,} bytes; store less"
            )
        return value

    return check


def _without_repeats(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _distinct(values: list[str]) -> list[str]:
    if repeated := sorted({value for value in values if values.count(value) > 1}):
        raise refuse(f"names {', '.join(map(json.dumps, repeated[:5]))} more than once; name each once")
    return values


Text = Annotated[str, AfterValidator(_not_blank)]
Name = Annotated[str, AfterValidator(_name)]
TaskType = Annotated[str, AfterValidator(_task_type)]
Identifier = Annotated[str, AfterValidator(_identifier)]
AttachmentUrl = Annotated[str, AfterValidator(_attachment)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
CallbackTarget = Annotated[str, AfterValidator(_callback)]
Email = Annotated[str, AfterValidator(_email)]
Tags = Annotated[list[Text], AfterValidator(_without_repeats), Field(max_length=TAGS)]  # Scale ignores repeats
TaskMetadata = Annotated[dict[str, Any], AfterValidator(_size_limit(TASK_METADATA_BYTES))]
FileMetadata = Annotated[dict[str, Any], AfterValidator(_size_limit(FILE_METADATA_BYTES))]
Emails = Annotated[list[Email], AfterValidator(_distinct), Field(min_length=1)]
Names = Annotated[list[Name], AfterValidator(_distinct), Field(min_length=1)]
