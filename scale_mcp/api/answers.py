"""What came back: an answer in memory, decoded into a model or into the error that it stands for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from scale_mcp.api.errors import ScaleError, UnexpectedAnswer, error_for_status
from scale_mcp.text import one_line

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

REDIRECTS = (301, 302, 303, 307, 308)
LONGEST_MESSAGE = 20_000  # bytes of an error's body that are looked at


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer in memory."""

    status: int
    content: bytes = field(repr=False)
    is_html: bool
    retry_after: float | None
    request_id: str | None


def decoded(answer: Answer, decode: Callable[[Any], T], *, plain: bool) -> T:
    """A success decoded. ``plain``: it may come without JSON, and then counts as None.

    Raises UnexpectedAnswer when it cannot be decoded: broken off, of another server, of another shape. A write may
    well have happened then.
    """
    try:
        return decode(_json(answer, plain=plain))
    except (ValueError, RecursionError) as error:
        problem = _problem(error)
        broken_off = isinstance(error, json.JSONDecodeError | UnicodeDecodeError)
    raise UnexpectedAnswer(
        f"Scale answered {answer.status}, but the answer cannot be read: {problem}.",
        status=answer.status,
        retryable=broken_off,  # what has another shape will have it next time too
        request_id=answer.request_id,
        in_doubt=True,
    )


def _json(answer: Answer, *, plain: bool) -> Any:
    try:
        return json.loads(answer.content)
    except ValueError:
        if plain and not answer.is_html and answer.content.lstrip()[:1] not in (b"{", b"[", b"<"):
            return None  # a word like OK; anything else is JSON that broke off, or a page
        raise


def _problem(error: Exception) -> str:
    """What is wrong with an answer: names of fields only, never the values."""
    from pydantic import ValidationError

    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        return f"{one_line(where, 100)}: {one_line(first['msg'], 100)}"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return "it is not JSON"
    return one_line(str(error), 100)


def error_of(answer: Answer, scrub: Callable[[str], str]) -> ScaleError:
    """The error that an answer outside 200–299 stands for. ``scrub`` takes the key out of Scale's words."""
    message = _message(answer)
    return error_for_status(
        answer.status,
        scrub(message) if message else None,
        retry_after=answer.retry_after,
        request_id=answer.request_id,
    )


def _message(answer: Answer) -> str | None:
    text = answer.content[:LONGEST_MESSAGE].decode("utf-8", "replace")
    try:
        value = json.loads(answer.content)
    except (ValueError, RecursionError):
        return None if answer.is_html else text
    message = value.get("error", value.get("message", text)) if isinstance(value, dict) else text
    return message if isinstance(message, str) else json.dumps(message)


def redirect_target(response: httpx2.Response) -> httpx2.URL | None:
    """Where an answer redirects to; None when it does not redirect."""
    if response.status_code not in REDIRECTS:
        return None
    import httpx2

    location = response.headers.get("location")
    if not location:
        return None
    try:
        return response.request.url.join(location)
    except (httpx2.InvalidURL, ValueError):
        pass
    raise UnexpectedAnswer("The API address redirected to something that is no address.", in_doubt=True)
