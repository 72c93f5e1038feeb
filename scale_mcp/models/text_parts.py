"""Parts of the text and document tasks: entity labels and relationships, text collection fields, features.

Scale has not published these schemas in full, so most of them let unknown keys pass (but not misspelt known ones).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from scale_mcp.models.checks import Checked, Problem, lowest_first, refuse_repeats
from scale_mcp.models.field_types import Text, url_problem
from scale_mcp.models.labels import OBJECT_FORM, TEXT_FORM, TEXT_OR_OBJECT, form_of_label
from scale_mcp.models.wording import CURE

Responses = Annotated[int, Field(ge=1, le=100)]


class Open(Checked):
    model_config = ConfigDict(extra="allow")


# Named entities -------------------------------------------------------------------------------------------------


class EntityLabel(Open):
    """A kind of entity, perhaps with finer kinds below it."""

    name: Text
    description: str | None = None
    display_name: str | None = None
    children: list[AnyEntityLabel] | None = None
    attributes: dict[str, Any] | None = None


AnyEntityLabel = Annotated[
    Annotated[Text, Tag(TEXT_FORM)] | Annotated[EntityLabel, Tag(OBJECT_FORM)],
    Discriminator(
        form_of_label, custom_error_type=CURE, custom_error_message='must be a text or an object with "name"'
    ),
    WithJsonSchema(TEXT_OR_OBJECT),
]


def as_objects(labels: list[Any]) -> list[Any]:
    """Entity labels as Scale takes them: a plain name stands for an object with that name."""
    return [{"name": label} if isinstance(label, str) else _with_children(label) for label in labels]


def _with_children(label: dict[str, Any]) -> dict[str, Any]:
    return {**label, "children": as_objects(label["children"])} if label.get("children") else label


def entity_names(labels: Any) -> Iterator[str]:
    """The names in a list of entity labels, children included. What is not a label is passed over."""
    waiting = list(labels) if isinstance(labels, list) else []
    while waiting:
        label = waiting.pop(0)
        given = label if isinstance(label, dict) else vars(label) if isinstance(label, Checked) else {"name": label}
        if isinstance(given.get("name"), str):
            yield given["name"]
        children = given.get("children")
        waiting.extend(children if isinstance(children, list) else ())


def _named_once(labels: list[Any]) -> list[Any]:
    refuse_repeats(entity_names(labels), "label names must be unique, nested ones too")
    return labels


EntityLabels = Annotated[list[AnyEntityLabel], AfterValidator(_named_once), Field(min_length=1)]


class Relationship(Open):
    """Which two kinds of entities may be related, and under which name."""

    name: Text | None = None
    display_name: Text | None = None
    is_directed: bool | None = None
    source_label: Text
    target_label: Text


def relationship_problems(given: Mapping[str, Any]) -> Iterator[Problem]:
    """Either all relationships have a name and a display name, or none has; their labels exist."""
    relationships = given.get("relationships")
    entries = [entry for entry in relationships if isinstance(entry, dict)] if isinstance(relationships, list) else []
    named = [entry for entry in entries if "name" in entry or "display_name" in entry]
    if named and len(named) < len(entries):
        yield Problem(
            ("relationships",), "must be all named or all unnamed; give each `name` and `display_name`, or none"
        )
    known = set(entity_names(given.get("labels")))
    for index, entry in enumerate(relationships if isinstance(relationships, list) else ()):
        if not isinstance(entry, dict):
            continue
        for first, second in (("name", "display_name"), ("display_name", "name")):
            if first in entry and second not in entry:
                yield Problem(("relationships", index, second), f"is missing; a relationship with `{first}` needs both")
        for end in ("source_label", "target_label"):
            if known and isinstance(entry.get(end), str) and entry[end] not in known:
                text = f'names "{entry[end][:80]}", which is not among the labels: {", ".join(sorted(known))[:300]}'
                yield Problem(("relationships", index, end), text)


# Text collection ------------------------------------------------------------------------------------------------


class FieldChoice(Open):
    label: Text
    value: str | bool | int | float
    hint: str | None = None
    subchoices: list[FieldChoice] | None = None


class CollectionField(Open):
    """A question of a text collection task. ``field_id`` is the key of its answer."""

    field_id: Text
    type: Text
    title: Text
    description: str | None = None
    hint: str | None = None
    required: bool | None = None
    choices: Annotated[list[FieldChoice], Field(min_length=1)] | None = None
    min_choices: Annotated[int, Field(ge=0)] | None = None
    max_choices: Annotated[int, Field(ge=1)] | None = None
    min_responses_required: Annotated[int, Field(ge=0, le=100)] | None = None
    max_responses_required: Responses | None = None
    fields: list[CollectionField] | None = None

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from lowest_first(given, "min_choices", "max_choices")
        yield from lowest_first(given, "min_responses_required", "max_responses_required")
        if given.get("type") == "category" and "choices" not in given:
            yield Problem(("choices",), 'is missing; a category needs them, such as [{"label": "Yes", "value": "yes"}]')
        children = given.get("fields")
        if given.get("type") == "field_set" and not (isinstance(children, list) and len(children) >= 2):
            yield Problem(("fields",), "must hold at least two fields in a field_set")


def _field_ids(fields: list[CollectionField]) -> Iterator[str]:
    for field in fields:
        yield field.field_id
        yield from _field_ids(field.fields or [])


def _ids_once(fields: list[CollectionField]) -> list[CollectionField]:
    refuse_repeats(_field_ids(fields), "each field_id must be unique")
    return fields


_OBJECTS = WithJsonSchema({"type": "array", "items": {"type": "object"}})

CollectionFields = Annotated[list[CollectionField], AfterValidator(_ids_once), Field(min_length=1), _OBJECTS]


class CollectionAttachment(Open):
    """Something to look at while answering: inline text, or the URL of anything else."""

    type: Literal["pdf", "image", "text", "video", "website", "audio"]
    content: Text
    forms: SkipJsonSchema[list[Text] | None] = None

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        kind, content = given.get("type"), given.get("content")
        if kind != "text" and isinstance(content, str) and content and (problem := url_problem(content)):
            yield Problem(("content",), f"{problem} (only attachments of type text hold the text itself)")


# Document transcription -----------------------------------------------------------------------------------------

Flag = Literal[
    "line", "key", "value", "thead", "tbody", "date", "money", "checkbox", "region", "query", "span"
]  # fmt: skip


class Feature(Open):
    """Something to find in a document."""

    type: Literal["text", "block", "group"]
    label: Text | None = None
    title: Text | None = None
    flags: list[Flag] | None = None
    lang: Text | None = None
    geometry: Literal["box", "polygon"] | None = None

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        kind = given.get("type")
        if kind in ("text", "block") and "label" not in given:
            yield Problem(("label",), f"is missing; a {kind} feature needs it")
        if kind == "group" and "title" not in given and "label" not in given:
            yield Problem(("title",), "is missing; a group feature needs it")


Features = Annotated[list[Feature], Field(min_length=1), _OBJECTS]
