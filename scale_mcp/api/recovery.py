"""What became of a create whose outcome is in doubt: look it up, compare it, and only then say what happened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

from scale_mcp.api.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotEnabled,
    NotFound,
    OutcomeUnknown,
    ScaleError,
    TooLarge,
)
from scale_mcp.api.options import ApiOptions

T = TypeVar("T")


async def settle(
    failure: ScaleError,
    *,
    look_up: Callable[[], Awaitable[T | None]],
    difference: Callable[[T], str | None],
    name: str,
    find_out: str,
    options: ApiOptions,
) -> T:
    """The object that a failed create made after all, or the error that tells the truth.

    failure     what the create ended with; without doubt in it, it is simply raised
    look_up     finds the object, None when there is none
    difference  names what differs between the object and what was sent, None when it is the same
    name        what was created, as in 'task with unique_id "x"'
    find_out    how the caller can look for it
    """
    if not failure.in_doubt:
        raise failure
    refused = isinstance(failure, InvalidRequest | NotEnabled | Forbidden | NotFound | TooLarge)
    over = refused or not (failure.may_still_happen or isinstance(failure, Conflict))  # what is not there will not come
    found: T | None = None
    looked, why = False, "there was no time left to look it up"
    for pause in (0.0, options.backoff_base, 2 * options.backoff_base):
        if anyio.current_time() + pause >= anyio.current_effective_deadline():
            break
        if pause:
            await options.sleep(pause)
        try:
            found = await look_up()
        except ScaleError as error:
            looked, why = False, f"looking it up failed as well ({error.message})"
            if not error.retryable:
                break
            continue
        looked, why = True, "it is not to be found so far"
        if found is not None or over:
            break
    if found is None:
        if not (over and looked):
            raise _unknown(failure, name, why, find_out)
        failure.in_doubt = False
        if not refused:
            failure.next_step = f"No {name} was made. Trying again is safe."
        raise failure
    if differs := difference(found):
        raise Conflict(
            f"A {name} exists already, and it is not what was sent: {differs} differs.",
            status=409,
            scale_message=failure.scale_message,
            next_step="Use another name or id, or the existing one as it is.",
            request_id=failure.request_id,
        )
    return found


def _unknown(failure: ScaleError, name: str, why: str, find_out: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"It is not known whether the {name} was made: {failure.message} Then {why}.",
        status=failure.status,
        scale_message=failure.scale_message,
        retryable=True,
        next_step=find_out,
        request_id=failure.request_id,
        in_doubt=True,
    )


def is_covered(sent: Any, stored: Any) -> bool:
    """Whether ``stored`` holds everything that was sent. It may hold more: Scale fills in defaults."""
    if isinstance(sent, dict):
        return isinstance(stored, dict) and all(
            is_covered(value, stored.get(key)) for key, value in sent.items() if not _is_empty(value)
        )
    if isinstance(sent, list):
        return (
            isinstance(stored, list)
            and len(sent) == len(stored)
            and all(is_covered(one, other) for one, other in zip(sent, stored, strict=True))
        )
    return bool(sent == stored) or _as_number(sent) == _as_number(stored) is not None


def _is_empty(value: Any) -> bool:
    return value is None or value == {} or value == []


def _as_number(value: Any) -> float | None:
    """Scale reads numbers written as strings, and may give either back."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None
