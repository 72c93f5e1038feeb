"""Checks that every request shares: problems found together, names of the parameter and the cure in each text.

A request model may carry *rules*, checks that look at several parameters at once. They run beside the checks of
the single fields, not after them, so that one answer reports everything that is wrong with one request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from scale_mcp.models.base import RequestModel
from scale_mcp.models.wording import CURE, near_miss, wording

ATTACHMENT_SCHEMES = ("http", "https", "s3", "gs", "scaledata")
TASK_METADATA_BYTES = 10 * 1024
FILE_METADATA_BYTES = 8 * 1024
MAX_TAGS = 5
MAX_NAME = 500  # characters; Scale documents no limit, a path has one

TASK_TYPES = (
    "imageannotation", "segmentannotation", "videoannotation", "videoplaybackannotation", "lidarannotation",
    "lidarsegmentation", "lidartopdown", "lidarlinking", "sensorfusion", "multistage", "documenttranscription",
    "namedentityrecognition", "textcollection", "categorization", "comparison", "transcription", "datacollection",
    "audiotranscription", "annotation", "polygonannotation", "lineannotation", "pointannotation", "cuboidannotation",
    "videoboxannotation", "videocuboidannotation", "laneannotation", "documentmodel", "chat", "chatexperimental",
    "chatlite", "multichat", "federal2dvideoannotation",
)  # fmt: skip

# Names that other clients and older documents use, and what is meant.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "created_after": ("start_time",),
    "created_before": ("end_time",),
    "role": ("team_role",),
    "team": ("team_role",),
    "file": ("path", "file_base64"),
    "content": ("file_base64",),
    "data": ("file_base64",),
    "url": ("file_url", "attachment", "callback_url"),
    "image": ("attachment",),
    "image_url": ("attachment",),
    "callback": ("callback_url",),
    "callback_url": ("callback",),
    "id": ("task_id",),
    "task": ("task_id",),
    "task_type": ("type",),
    "batch": ("batch_name",),
    "name": ("batch_name", "project"),
    "project": ("project_name", "name"),
    "project_name": ("project", "name"),
    "batches": ("batch_names",),
    "priorities": ("batch_names",),
    "email": ("emails",),
    "users": ("emails",),
    "cursor": ("next_token",),
    "page_token": ("next_token",),
    "page_size": ("limit",),
    "response_required": ("responses_required",),
    "max_vertives": ("max_vertices",),
    "task_params": ("extra_params", "params"),
    "params": ("extra_params",),
    "additional_params": ("params", "extra_params"),
    "extra_params": ("params",),
    "default_params": ("params",),
    "text_content": ("text",),
    "label": ("choice", "labels"),
    "name_of_version": ("version_name",),
}


@dataclass(frozen=True)
class Problem:
    """Something wrong with the parameter at ``where``. The text says what, and what to do about it."""

    where: tuple[str | int, ...]
    text: str


def refuse(text: str) -> PydanticCustomError:
    """The error for a validator to raise: ``text`` is shown to the caller word for word."""
    return PydanticCustomError(CURE, "{text}", {"text": text})


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant by ``name``."""
    names = list(known)
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[:100]).replace("-", "_").lower()
    if plain in names:
        return plain
    for meant in SYNONYMS.get(plain, ()):
        if meant in names:
            return meant
    return near_miss(plain, names)


class Checked(RequestModel):
    """A request, or a part of one. ``rules`` look at the raw parameters, whatever their types turn out to be.

    A part whose schema Scale has not published in full allows unknown fields (``extra="allow"``), but still refuses
    what looks like a misspelling of a known one.
    """

    model_config = ConfigDict(allow_inf_nan=False, defer_build=True)

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        """Problems between parameters. ``given`` is what the caller sent, unchecked."""
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _report_everything(cls, data: Any, handler: Any) -> Any:
        if not isinstance(data, Mapping):
            return handler(data)
        broken = {problem.where: problem for problem in [*cls._unknown(data), *cls._missing(data), *cls.rules(data)]}
        try:
            model = handler(data)
        except ValidationError as error:
            broken = {problem.where: problem for problem in problems_in(error)} | broken
        if broken:
            raise as_error(cls.__name__, broken.values())
        return model

    @classmethod
    def _unknown(cls, data: Mapping[str, Any]) -> Iterator[Problem]:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        is_open = cls.model_config.get("extra") == "allow"
        for name in map(str, data):
            if name in known:
                continue
            meant = near_miss(name, known) if is_open else did_you_mean(name, known)
            if meant:
                yield Problem((name,), f"is unknown here; did you mean `{meant}`?")
            elif not is_open:
                yield Problem((name,), f"is unknown here; {cls._instead(known)}")

    @classmethod
    def _instead(cls, known: list[str]) -> str:
        if "extra_params" in known:
            return "if Scale takes it, put it into `extra_params`, else leave it out"
        return f"known: {', '.join(known)}" if known else "leave it out"

    @classmethod
    def _missing(cls, data: Mapping[str, Any]) -> Iterator[Problem]:
        for name, field in cls.model_fields.items():
            if field.is_required() and (field.alias or name) not in data:
                what = f": {field.description}" if field.description else ""
                yield Problem((field.alias or name,), f"is missing and required{what}")


def problems_in(error: ValidationError) -> Iterator[Problem]:
    """What a failed validation found, in words."""
    for found in error.errors(include_url=False):
        yield Problem(found["loc"], wording(found))


def as_error(title: str, problems: Iterable[Problem]) -> ValidationError:
    """The problems as one error, for a validator to raise."""
    return ValidationError.from_exception_data(
        title, [InitErrorDetails(type=refuse(each.text), loc=each.where, input=None) for each in problems]
    )


def exactly_one(given: Mapping[str, Any], first: str, second: str) -> Iterator[Problem]:
    """Either ``first`` or ``second`` is given."""
    if first in given and second in given:
        yield Problem((second,), f"does not go with `{first}`; give one of the two")
    elif first not in given and second not in given:
        yield Problem((first,), f"is missing; give `{first}` or `{second}`")


def at_least_one(given: Mapping[str, Any], first: str, second: str) -> Iterator[Problem]:
    """``first`` or ``second`` is given, or both."""
    if first not in given and second not in given:
        yield Problem((first,), f"is missing; give `{first}`, `{second}` or both")


def in_order(given: Mapping[str, Any], earlier: str, later: str) -> Iterator[Problem]:
    """Two ISO 8601 times, the first not after the second."""
    start, end = (_moment(given.get(name)) for name in (earlier, later))
    if start and end and start > end:
        yield Problem((later,), f"lies before `{earlier}`; swap the two")


def lowest_first(given: Mapping[str, Any], low: str, high: str) -> Iterator[Problem]:
    """Two numbers, the first not above the second."""
    smallest, largest = _number(given.get(low)), _number(given.get(high))
    if smallest is not None and largest is not None and smallest > largest:
        yield Problem((high,), f"must be at least `{low}` ({smallest}), not {largest}")


def _number(value: Any) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# Field types ----------------------------------------------------------------------------------------------------


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
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text):
        raise refuse("must not hold control characters")
    if any(part in (".", "..") for part in re.split(r"[/\\]", text)):
        raise refuse("must not be, or hold as a path part, `.` or `..`; give the plain name")
    if len(text) > MAX_NAME:
        raise refuse(f"must have at most {MAX_NAME} characters, not {len(text)}")
    return text


def _task_type(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,60}", text):
        raise refuse("must be a task type: lower-case letters, digits and `_`, such as imageannotation")
    if meant := near_miss(text, TASK_TYPES):
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
    allowed = ", ".join(f"{scheme}://" for scheme in schemes)
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _encodable(text)
    except (ValueError, PydanticCustomError):
        return "is not a valid URL"
    if parts.scheme not in schemes:
        return f"must be a URL that begins with {allowed}"
    if not host or any(character.isspace() or ord(character) < 32 for character in text):
        return "is not a valid URL: it needs a host and no spaces (write %20)"
    if parts.scheme == "scaledata" and not parts.path.strip("/"):
        return "must be the whole attachment_url of an uploaded file, scaledata://owner/id"
    return None


def _attachment(text: str) -> str:
    if problem := url_problem(text):
        raise refuse(problem)
    return text


def _web_address(text: str) -> str:
    if problem := url_problem(text, ("http", "https", "s3", "gs")):
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


def json_size(value: Any) -> int:
    """Bytes of a JSON value as it goes over the wire."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"))


def _size_limit(limit: int) -> Any:
    def check(value: dict[str, Any]) -> dict[str, Any]:
        if (size := json_size(value)) > limit:
            raise refuse(f"must take at most {limit // 1024} kB as JSON ({limit} bytes), not {size} bytes; store less")
        return value

    return check


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
Tags = Annotated[list[Text], AfterValidator(_distinct), Field(max_length=MAX_TAGS)]
TaskMetadata = Annotated[dict[str, Any], AfterValidator(_size_limit(TASK_METADATA_BYTES))]
FileMetadata = Annotated[dict[str, Any], AfterValidator(_size_limit(FILE_METADATA_BYTES))]
Emails = Annotated[list[Email], AfterValidator(_distinct), Field(min_length=1)]
Names = Annotated[list[Name], AfterValidator(_distinct), Field(min_length=1)]
