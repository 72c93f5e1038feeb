"""Labels and ontologies: lists whose elements are plain texts or objects with nested choices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema

from scale_mcp.models.checks import Checked, refuse_repeats
from scale_mcp.models.field_types import Text

# Tags of the two forms. They appear in the location of an error and are dropped from what the caller reads.
TEXT_FORM, OBJECT_FORM = "<text>", "<object>"
TEXT_OR_OBJECT = {"anyOf": [{"type": "string"}, {"type": "object"}]}


def form_of_label(value: Any) -> str | None:
    if isinstance(value, str):
        return TEXT_FORM
    return OBJECT_FORM if isinstance(value, dict | Checked) else None


LABEL_FORM = Discriminator(
    form_of_label, custom_error_type="cure", custom_error_message='must be a text or an object with "choice"'
)
_SCHEMA = WithJsonSchema(TEXT_OR_OBJECT)


class LabelObject(Checked):
    """A label with options. With ``subchoices`` only its leaves can be chosen, and only leaves come back."""

    choice: Text
    subchoices: list[AnyLabel] | None = None
    instance_label: bool | None = None
    display: Text | None = None


AnyLabel = Annotated[Annotated[Text, Tag(TEXT_FORM)] | Annotated[LabelObject, Tag(OBJECT_FORM)], LABEL_FORM, _SCHEMA]


class OntologyChoice(Checked):
    """A choice of a project's ontology."""

    choice: Text
    display: Text | None = None
    description: str | None = None
    subchoices: list[AnyChoice] | None = None


AnyChoice = Annotated[
    Annotated[Text, Tag(TEXT_FORM)] | Annotated[OntologyChoice, Tag(OBJECT_FORM)], LABEL_FORM, _SCHEMA
]


def choices_of(labels: Any) -> Iterator[str]:
    """Every choice in a list of labels, nested ones included. What is not a label is passed over."""
    waiting = list(labels) if isinstance(labels, list) else []
    while waiting:
        label = waiting.pop(0)
        if isinstance(label, str):
            yield label
            continue
        given = label if isinstance(label, dict) else vars(label) if isinstance(label, Checked) else {}
        if isinstance(given.get("choice"), str):
            yield given["choice"]
        waiting.extend(given.get("subchoices") or ())


def _each_once(labels: list[Any]) -> list[Any]:
    refuse_repeats(choices_of(labels), "labels must be unique, nested ones too")
    return labels


Labels = Annotated[list[AnyLabel], AfterValidator(_each_once)]
LabelList = Annotated[Labels, Field(min_length=1)]
Ontology = Annotated[list[AnyChoice], AfterValidator(_each_once), Field(min_length=1)]
