"""What a task asks for, read out of its parameters: leaf labels, geometries, attribute definitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

GEOMETRIES = ("box", "polygon", "line", "point", "ellipse", "cuboid")
Definition = Mapping[str, Any]


def number_of(value: Any, default: float) -> float:
    """A number of 0 … 1e6, the default for anything else. Scale takes numbers written as strings too."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return default
    return number if 0 <= number <= 1e6 and not isinstance(value, bool) else default


def truthy(value: Any) -> bool:
    """A flag, perhaps written as a string."""
    return value.lower() == "true" if isinstance(value, str) else bool(value)


@dataclass(frozen=True)
class Label:
    """A label a worker can choose. Only leaves of a nested label can be chosen, and they answer to ``name``."""

    name: str
    instance: bool = False


def leaves(labels: Any, *, instance: bool = False) -> list[Label]:
    """The leaf labels of a list of strings or label descriptions, in order, each name once."""
    found = {label.name: label for label in reversed(list(_walk(labels, instance=instance)))}
    return [found[name] for name in reversed(found)]


def _walk(labels: Any, *, instance: bool) -> Iterator[Label]:
    for label in labels if isinstance(labels, list) else []:
        if isinstance(label, Mapping):
            # Images say choice and subchoices, entities name and children, text collections value.
            inner = label.get("subchoices") or label.get("children")
            each = bool(label.get("instance_label", instance))
            name = next((label[key] for key in ("choice", "value", "name", "label") if key in label), None)
            if inner:
                yield from _walk(inner, instance=each)
            elif name is not None:
                yield Label(str(name), each)
        elif label is not None:
            yield Label(str(label), instance)


def choice_values(choices: Any) -> list[Any]:
    """Selectable values of category choices, with their own types: text collections allow numbers and booleans."""
    values: list[Any] = []
    for choice in choices if isinstance(choices, list) else []:
        if not isinstance(choice, Mapping):
            values.append(choice)
        elif choice.get("subchoices"):
            values.extend(choice_values(choice["subchoices"]))
        else:
            values.append(choice.get("value", choice.get("choice", choice.get("label"))))
    return [value for value in values if value is not None]


@dataclass(frozen=True)
class Wanted:
    """One geometry a task asks for. No labels means that the worker draws without naming."""

    geometry: str
    options: Mapping[str, Any]
    labels: tuple[Label, ...]

    def number(self, name: str, default: float = 0) -> float:
        """An option as a number of 0 … 1e6."""
        return number_of(self.options.get(name), default)

    def flag(self, name: str) -> bool:
        return truthy(self.options.get(name))


def wanted_geometries(params: Mapping[str, Any]) -> list[Wanted]:
    """The geometries asked for, in the order of the request. Unknown geometry names are left out."""
    geometries = params.get("geometries")
    if not isinstance(geometries, Mapping):
        return []
    return [
        Wanted(name, options, tuple(leaves(options.get("objects_to_annotate"))))
        for name, options in geometries.items()
        if name in GEOMETRIES and isinstance(options, Mapping)
    ]


def segment_labels(params: Mapping[str, Any]) -> list[Label]:
    """Labels of a segmentation, with both ways of asking for instances."""
    named = params.get("instance_labels")
    older = {str(name) for name in named} if isinstance(named, list) else set()
    return [Label(label.name, label.instance or label.name in older) for label in leaves(params.get("labels"))]


def _conditions(definition: Definition) -> list[Mapping[str, Any]]:
    """Alternatives, each with requirements that must all hold. A lone object is a list of one."""
    given = definition.get("conditions")
    return [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, Mapping)]


def is_global(definition: Definition) -> bool:
    return any(condition.get("is_global") for condition in _conditions(definition))


def _among(value: Any, allowed: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(one in (allowed if isinstance(allowed, list) else [allowed]) for one in values)


def applies(definition: Definition, label: str | None, chosen: Mapping[str, Any]) -> bool:
    """Whether the worker is asked this attribute, given the label and the attributes chosen so far."""
    conditions = _conditions(definition)
    return not conditions or any(_holds(condition, label, chosen) for condition in conditions)


def _holds(condition: Mapping[str, Any], label: str | None, chosen: Mapping[str, Any]) -> bool:
    by_label = condition.get("label_condition")
    if isinstance(by_label, Mapping) and not condition.get("is_global") and not _among(label, by_label.get("label")):
        return False
    others = condition.get("attribute_conditions")
    wanted = others if isinstance(others, list) else [others]
    return all(
        name in chosen and _among(chosen[name], allowed)
        for other in wanted
        if isinstance(other, Mapping)
        for name, allowed in other.items()
    )


def attribute_definitions(params: Mapping[str, Any], *, of_scene: bool = False) -> dict[str, Definition]:
    """Definitions of what is asked per annotation, or of the scene as a whole."""
    found: dict[str, Definition] = {}
    given = params.get("annotation_attributes")
    for name, definition in given.items() if isinstance(given, Mapping) else ():
        if isinstance(definition, Mapping) and is_global(definition) == of_scene:
            found[str(name)] = definition
    own = params.get("global_attributes") if of_scene else None
    for name, definition in own.items() if isinstance(own, Mapping) else ():
        if isinstance(definition, Mapping):
            found[str(name)] = definition
    return found
