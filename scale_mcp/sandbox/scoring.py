"""How well an answer agrees with the one that was expected: a number from 0 (not at all) to 1 (the same).

Lists of annotations are paired greedily, best fit first; what stays alone on either side counts as nothing. A pair's
fit is its labels (all or nothing) times its place, its text and its attributes. Fields are compared one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

from scale_mcp.sandbox import geometry

NEAR = 10.0  # pixels within which a point counts as hit, less and less towards the end
LONGEST_TEXT = 2_000  # characters compared one by one; beyond, texts are equal or not


def agreement(expected: Any, given: Any) -> float:
    """The agreement of two responses of the same task type. Ids, links and files behind URLs are not looked at."""
    wanted, got = _annotations(expected), _annotations(given)
    if isinstance(wanted, list):
        return _paired(wanted, got if isinstance(got, list) else [])
    return _fields(wanted, got) if isinstance(wanted, Mapping) else _value(wanted, got)


def _annotations(response: Any) -> Any:
    return response.get("annotations", response) if isinstance(response, Mapping) else response


def _paired(wanted: list[Any], got: list[Any]) -> float:
    """Twice the sum of the fits over the number of annotations on both sides: an F1 that knows halves."""
    if not wanted and not got:
        return 1.0
    fits = [(_fit(one, other), i, j) for i, one in enumerate(wanted) for j, other in enumerate(got)]
    left, right, total = set(range(len(wanted))), set(range(len(got))), 0.0
    for fit, i, j in sorted(fits, key=lambda each: (-each[0], each[1], each[2])):
        if fit > 0 and i in left and j in right:
            left.remove(i)
            right.remove(j)
            total += fit
    return 2 * total / (len(wanted) + len(got))


def _fit(one: Any, other: Any) -> float:
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return float(one == other)  # a choice from a list: there is no nearly right one
    if one.get("label") != other.get("label"):
        return 0.0
    fit = _place(one, other)
    if fit and isinstance(one.get("text"), str) and "start" not in one:
        fit *= _value(one["text"], other.get("text"))
    attributes = one.get("attributes")
    if fit and isinstance(attributes, Mapping) and attributes:
        fit *= 0.5 + 0.5 * _fields(attributes, other.get("attributes"))
    return fit


def _place(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """How well two annotations lie over each other: spans, points, and everything that has a bounding box."""
    if "location" in one:
        return _place(one["location"], other.get("location") or {})
    if "start" in one and "end" in one:
        return _overlap(one, other)
    try:
        shape = geometry.points_of(one)
        drawn = geometry.points_of(other)
    except (KeyError, TypeError, ValueError):
        # No place on our side means that there is nothing to compare; on theirs only, that it was not given.
        return 0.0 if {"left", "x", "vertices"} & set(one) else 1.0
    if len(shape) == 1:
        return max(0.0, 1 - math.dist(shape[0], drawn[0]) / NEAR) if len(drawn) == 1 else 0.0
    return geometry.iou({"vertices": _corners(shape)}, {"vertices": _corners(drawn)})


def _corners(points: list[geometry.XY]) -> list[dict[str, float]]:
    """The bounding box as vertices, at least a pixel wide and high, so that straight lines can overlap."""
    left, top, right, bottom = geometry.region_of(points)
    return [{"x": left, "y": top}, {"x": max(right, left + 1), "y": max(bottom, top + 1)}]


def _overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    try:
        common = min(one["end"], other["end"]) - max(one["start"], other["start"])
        either = max(one["end"], other["end"]) - min(one["start"], other["start"])
    except (KeyError, TypeError):
        return 0.0
    return max(0.0, common / either) if either else 1.0


def _fields(wanted: Mapping[str, Any], got: Any) -> float:
    """The mean over the fields that were expected or given."""
    given: Mapping[str, Any] = got if isinstance(got, Mapping) else {}
    names = wanted.keys() | given.keys()
    if not names:
        return 1.0
    return sum(_value(wanted[name], given[name]) for name in names if name in wanted and name in given) / len(names)


def _value(wanted: Any, got: Any) -> float:
    if wanted == got:
        return 1.0
    if isinstance(wanted, str) and isinstance(got, str):
        if len(wanted) > LONGEST_TEXT or len(got) > LONGEST_TEXT:
            return 0.0
        return SequenceMatcher(None, wanted, got, autojunk=False).ratio()
    if isinstance(wanted, Mapping):
        return _fields(wanted, got)
    if isinstance(wanted, list) and isinstance(got, list):
        return _paired(wanted, got)
    return 0.0
