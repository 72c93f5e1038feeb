"""Attributes of annotations and of whole scenes: made up, or from the truth with the worker's mistakes."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from scale_mcp.sandbox import decisions
from scale_mcp.sandbox import noise as noises
from scale_mcp.sandbox.answers.ontology import Definition, applies, attribute_definitions, choice_values, truthy
from scale_mcp.sandbox.answers.report import Report
from scale_mcp.sandbox.facts import folded
from scale_mcp.sandbox.noise import Noise

TEST_TEXT = decisions.TEST_TEXT.value


def kind_of(definition: Definition) -> str:
    """The type of an attribute; a definition without one is a category."""
    return str(definition.get("type") or "category").lower()


def allows_many(definition: Definition) -> bool:
    return truthy(definition.get("allow_multiple"))


# ------------------------------------------------------------------------------------------------------------ made up


def fabricated(definitions: Mapping[str, Definition], label: str | None) -> dict[str, Any]:
    """One fixed value per attribute asked of this label. Linked attributes come later: ``fabricate_links``."""
    chosen: dict[str, Any] = {}
    for name, definition in definitions.items():
        if kind_of(definition) != "linked" and applies(definition, label, chosen):
            value = _fixed_value(definition)
            if value is not None:
                chosen[name] = value
    return chosen


def _fixed_value(definition: Definition) -> Any:
    kind = kind_of(definition)
    if kind == "category":
        choices = choice_values(definition.get("choices"))
        return None if not choices else choices[:1] if allows_many(definition) else choices[0]
    if kind == "number":
        low, high = _number(definition.get("min")), _number(definition.get("max"))
        return _whole(max(low if low is not None else 1.0, min(1.0, high) if high is not None else 1.0))
    if kind == "text":
        return TEST_TEXT
    return 45 if kind == "angle" else 0  # what is left are offsets


def fabricate_links(annotations: list[dict[str, Any]], definitions: Mapping[str, Definition], key: str) -> None:
    """Point every linked attribute at the first other annotation with an allowed label."""
    for name, definition in definitions.items():
        if kind_of(definition) != "linked":
            continue
        allowed = definition.get("allowed_labels") or []
        for annotation in annotations:
            target = next((a for a in annotations if a is not annotation and a.get("label") in allowed), None)
            if target and applies(definition, annotation.get("label"), annotation.get("attributes", {})):
                annotation.setdefault("attributes", {})[name] = target[key]


# -------------------------------------------------------------------------------------------------------- from truth


def answered(
    definitions: Mapping[str, Definition],
    label: str | None,
    truth: Mapping[str, Any],
    noise: Noise,
    rng: random.Random,
    report: Report,
    where: str,
) -> dict[str, Any]:
    """The attributes asked of this label, as far as the truth knows them. ``where`` names the annotation in reports.

    An attribute the truth is silent about is left out and noted: a guess would look like knowledge.
    """
    known = {folded(name): value for name, value in truth.items()}
    chosen: dict[str, Any] = {}
    for name, definition in definitions.items():
        if kind_of(definition) == "linked" or not applies(definition, label, chosen):
            continue
        value = _accepted(definition, known.get(folded(name)))
        if value is None:
            report.note("attributes_without_truth", [name])
        elif rng.random() < noise.attribute_skipped:
            report.mistake("attribute_skipped", annotation=where, attribute=name, truth=value)
        else:
            chosen[name] = _perhaps_wrong(name, definition, value, noise, rng, report, where)
    return chosen


def _perhaps_wrong(
    name: str, definition: Definition, value: Any, noise: Noise, rng: random.Random, report: Report, where: str
) -> Any:
    if kind_of(definition) == "text":
        said: Any = noises.misspelt(str(value), noise, rng)
    elif rng.random() < noise.attribute_wrong:
        said = _wrong_value(definition, value, rng)
    else:
        said = value
    if said != value:
        report.mistake("attribute_wrong", annotation=where, attribute=name, truth=value, answer=said)
    return said


def _wrong_value(definition: Definition, value: Any, rng: random.Random) -> Any:
    kind = kind_of(definition)
    if kind == "category":
        choices = choice_values(definition.get("choices"))
        if isinstance(value, list):
            return [noises.another(value[0], choices, rng), *value[1:]] if value else value
        return noises.another(value, choices, rng)
    if kind == "angle":
        return round((float(value) + rng.choice((-20, 20, 180))) % 360, 1)
    step = _number(definition.get("step")) or 1.0
    moved = float(value) + rng.choice((-step, step))
    low, high = _number(definition.get("min")), _number(definition.get("max"))
    if (low is not None and moved < low) or (high is not None and moved > high):
        moved = 2 * float(value) - moved
        if (low is not None and moved < low) or (high is not None and moved > high):
            return value
    return _whole(moved)


def _accepted(definition: Definition, value: Any) -> Any:
    """The truth's value in the words of the definition; None when they cannot express it."""
    if value is None:
        return None
    kind = kind_of(definition)
    if kind == "category":
        choices = {folded(str(choice)): choice for choice in choice_values(definition.get("choices"))}
        values = value if isinstance(value, list) else [value]
        found = [choices[folded(str(one))] for one in values if folded(str(one)) in choices]
        if allows_many(definition):
            return found if found or not values else None
        return found[0] if found else None
    if kind == "text":
        return str(value)
    number = _number(value)
    if number is None:
        return None
    low, high = _number(definition.get("min")), _number(definition.get("max"))
    outside = (low is not None and number < low) or (high is not None and number > high)
    if kind == "number":
        return None if outside else _whole(number)
    return _whole(number)


def link(
    annotations: list[dict[str, Any]],
    truths: Mapping[str, Mapping[str, Any]],
    keys: Mapping[str, str],
    definitions: Mapping[str, Definition],
) -> None:
    """Fill linked attributes: ``truths`` gives the true attributes by annotation id, ``keys`` the id by true key."""
    labels = {str(annotation["uuid"]): annotation.get("label") for annotation in annotations}
    for name, definition in definitions.items():
        if kind_of(definition) != "linked":
            continue
        allowed = definition.get("allowed_labels")
        for annotation in annotations:
            known = {folded(k): v for k, v in truths.get(annotation["uuid"], {}).items()}
            target = keys.get(str(known.get(folded(name))))
            if (
                target
                and (not allowed or labels.get(target) in allowed)
                and applies(definition, annotation.get("label"), annotation.get("attributes", {}))
            ):
                annotation.setdefault("attributes", {})[name] = target


def scene(params: Mapping[str, Any], truth: Mapping[str, Any], noise: Noise, rng: random.Random, report: Report) -> Any:
    """``global_attributes`` of a response, from the truth."""
    return answered(attribute_definitions(params, of_scene=True), None, truth, noise, rng, report, "scene")


def fabricated_scene(params: Mapping[str, Any]) -> dict[str, Any]:
    return fabricated(attribute_definitions(params, of_scene=True), None)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _whole(value: float) -> int | float:
    return int(value) if value == int(value) else round(value, 4)
