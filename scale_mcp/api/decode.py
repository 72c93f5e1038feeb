"""From JSON values to models. A decoder raises ValueError for a value that is not what it should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)


def one(model: type[M]) -> Callable[[Any], M]:
    """An object of this model."""
    return model.model_validate


def many(model: type[M]) -> Callable[[Any], list[M]]:
    """A list of this model: a bare array, or an object that holds it as ``docs``."""

    def decode(value: Any) -> list[M]:
        return [model.model_validate(item) for item in items_of(value)]

    return decode


def items_of(value: Any) -> list[Any]:
    """The elements of a bare array or of a ``docs`` envelope."""
    items = value.get("docs") if isinstance(value, dict) else value
    if not isinstance(items, list):
        raise ValueError("a list was expected")
    return items


def as_object(value: Any) -> dict[str, Any]:
    """Any object; nothing, or the plain OK that some operations answer, counts as an empty one."""
    if isinstance(value, dict):
        return value
    return {} if value is None else {"result": value}


def string_lists(value: Any) -> dict[str, list[str]]:
    """A map from strings to lists of strings."""
    if not isinstance(value, dict) or not all(isinstance(items, list) for items in value.values()):
        raise ValueError("a map to lists was expected")
    return {key: [str(item) for item in items] for key, items in value.items()}
