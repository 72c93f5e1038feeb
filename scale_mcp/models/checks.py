"""Checks that every request shares: problems found together, names of the parameter and the cure in each text.

A request model may carry *rules*, checks that look at several parameters at once. They run beside the checks of
the single fields, not after them, so that one answer reports everything that is wrong with one request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pydantic import ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from scale_mcp.models.base import RequestModel
from scale_mcp.models.wording import CURE, near_miss, wording

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


def refuse_repeats(names: Iterable[str], rule: str) -> None:
    """Raise the error of a validator when a name comes twice; ``rule`` says what holds instead."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise refuse(f'names "{name[:80]}" more than once; {rule}')
        seen.add(name)


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
        known, required = _fields(cls)
        found = [*cls.rules(data)]
        if not data.keys() <= known or not required <= data.keys():
            found = [*cls._unknown(data), *cls._missing(data), *found]
        broken = {problem.where: problem for problem in found}
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


@cache
def _fields(model: type[Checked]) -> tuple[frozenset[str], frozenset[str]]:
    """The wire names of a model's fields, all and the required ones. Bulk creation asks for them with each task."""
    named = {field.alias or name: field for name, field in model.model_fields.items()}
    return frozenset(named), frozenset(name for name, field in named.items() if field.is_required())


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
