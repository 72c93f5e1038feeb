"""Questions about annotations: ``annotation_attributes``, their conditions, global attributes and links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema

from scale_mcp.models.checks import Checked, Problem, lowest_first, refuse
from scale_mcp.models.field_types import Text
from scale_mcp.models.labels import LabelList
from scale_mcp.models.wording import CURE

KINDS = ("category", "number", "angle", "text", "x_line", "y_line", "linked")


def _form(value: Any) -> str | None:
    if isinstance(value, list):
        return "<list>"
    return "<one>" if isinstance(value, str | dict | Checked) else None


def _object_form(value: Any) -> str | None:
    return None if isinstance(value, str) else _form(value)


# Values that sources write alone or in a list. Both are taken as they come.
_TEXTS = Discriminator(_form, custom_error_type=CURE, custom_error_message="must be a text or a list of texts")
_OBJECTS = Discriminator(
    _object_form, custom_error_type=CURE, custom_error_message="must be an object or a list of objects"
)

Values = Annotated[Annotated[Text, Tag("<one>")] | Annotated[list[Text], Tag("<list>")], _TEXTS]
AttributeConditions = Annotated[
    Annotated[dict[str, Values], Tag("<one>")] | Annotated[list[dict[str, Values]], Tag("<list>")], _OBJECTS
]


class LabelCondition(Checked):
    label: Values


class Condition(Checked):
    """When a question is asked. All that one object names must hold; of several objects one suffices."""

    label_condition: LabelCondition | None = None
    attribute_conditions: AttributeConditions | None = None
    is_global: bool | None = None

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        if not given:
            yield Problem((), f"must hold at least one of {', '.join(cls.model_fields)}")


Conditions = Annotated[Annotated[Condition, Tag("<one>")] | Annotated[list[Condition], Tag("<list>")], _OBJECTS]


class Attribute(Checked):
    """What all kinds of attributes share."""

    description: str | None = None
    conditions: Conditions | None = None


class Category(Attribute):
    type: Literal["category"] | None = None  # absent means category
    choices: LabelList
    allow_multiple: bool | None = None


class Number(Attribute):
    type: Literal["number"]
    min: float | None = None
    max: float | None = None
    step: Annotated[float, Field(gt=0)] | None = None

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from lowest_first(given, "min", "max")


class Plain(Attribute):
    """A kind without options of its own."""

    type: Literal["angle", "text", "x_line", "y_line"]


class Linked(Attribute):
    type: Literal["linked"]
    allowed_labels: Annotated[list[Text], Field(min_length=1)]
    required: bool | None = None


def _kind(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", value)
    if kind is None:
        return "<category>"
    if kind in ("angle", "text", "x_line", "y_line"):
        return "<plain>"
    return f"<{kind}>" if isinstance(kind, str) and kind in KINDS else None


_KIND = Discriminator(
    _kind,
    custom_error_type=CURE,
    custom_error_message=f"must be an object whose `type` is one of {', '.join(KINDS)} (category when absent)",
)

AnyAttribute = Annotated[
    Annotated[Category, Tag("<category>")]
    | Annotated[Number, Tag("<number>")]
    | Annotated[Plain, Tag("<plain>")]
    | Annotated[Linked, Tag("<linked>")],
    _KIND,
]


def _conditions_name_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """A condition on another attribute must name one that exists: a misspelt one would never be met."""
    for name, attribute in attributes.items():
        conditions = attribute.conditions if isinstance(attribute.conditions, list) else [attribute.conditions]
        for condition in filter(None, conditions):
            others = condition.attribute_conditions or []
            for other in {key for each in ([others] if isinstance(others, dict) else others) for key in each}:
                if other not in attributes:
                    known = ", ".join(attributes)
                    raise refuse(f"`{name}` depends on the attribute `{other}`, which is not defined; known: {known}")
    return attributes


def _no_drawn_kinds(attributes: dict[str, Any]) -> dict[str, Any]:
    for name, attribute in attributes.items():
        if attribute.type not in (None, "category", "number", "text"):
            raise refuse(f"`{name}` has type {attribute.type}; global attributes are category, number or text")
    return attributes


_OBJECT = WithJsonSchema({"type": "object"})

Attributes = Annotated[dict[str, AnyAttribute], AfterValidator(_conditions_name_attributes), _OBJECT]
GlobalAttributes = Annotated[dict[str, AnyAttribute], AfterValidator(_no_drawn_kinds), _OBJECT]


class Link(Checked):
    """Which labels one annotation may point from and to."""

    is_bidirectional: bool | None = None
    from_allowed_labels: list[Text] | None = None
    to_allowed_labels: list[Text] | None = None


OneOrMoreLinks = Annotated[Annotated[Link, Tag("<one>")] | Annotated[list[Link], Tag("<list>")], _OBJECTS]

# Scale's sample wraps a link in a list, its client does not.
Links = Annotated[dict[str, OneOrMoreLinks], _OBJECT]
