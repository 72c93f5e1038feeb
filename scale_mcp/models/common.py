"""Small types that several models share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field

Mode = Literal["live", "test"]
TaskStatus = Literal["pending", "completed", "canceled", "error"]
BatchState = Literal["staging", "in_progress", "completed"]
ReviewStatus = Literal["pending", "accepted", "fixed", "commented", "rejected"]
TeamRole = Literal["labeler", "member", "manager"]

T = TypeVar("T")


def spelt(name: str, other: str) -> Any:
    """A field that goes out as ``name``, Scale's spelling, and is read under either name."""
    return Field(validation_alias=AliasChoices(name, other), serialization_alias=name)


def _iso_time(value: str) -> str:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(
            f"{value[:40]!r} is not an ISO 8601 date or date-time, such as 2026-03-01 or 2026-03-01T12:00:00Z"
        ) from None
    return value


IsoTime = Annotated[str, AfterValidator(_iso_time)]
"""A date or date-time in ISO 8601, kept as it was written. Without an offset it is UTC."""


def _absent_to_empty_list(value: Any) -> Any:
    return [] if value is None else value


def _absent_to_empty_object(value: Any) -> Any:
    return {} if value is None else value


Items = Annotated[list[T], BeforeValidator(_absent_to_empty_list), Field(default_factory=list)]
"""A list that Scale may also send as null or leave out."""

Object = Annotated[dict[str, Any], BeforeValidator(_absent_to_empty_object), Field(default_factory=dict)]
"""An object that Scale may also send as null or leave out."""
