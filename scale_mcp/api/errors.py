"""What can go wrong between us and Scale.

ScaleError
├── RefusedBeforeSending   nothing was sent: a bad name, address, key or file
├── ConnectionFailed       no answer: the network, the name, the certificate
├── DeadlineExceeded       the caller's time was over
├── UnexpectedAnswer       an answer that this API does not give: not JSON, a foreign redirect
├── OutcomeUnknown         a write that may have happened; the next step says how to find out
├── InvalidRequest         400 and other 4xx
├── Unauthorized           401
├── NotEnabled             402
├── Forbidden              403
├── NotFound               404
├── Conflict               409
├── TooLarge               413
├── RateLimited            429
└── ServerError            5xx, 408
"""

from __future__ import annotations

import re
from typing import ClassVar

from scale_mcp.text import cap, one_line

MAX_QUOTE = 300  # characters of Scale's own text in a message
MAX_MESSAGE = 1200  # characters of a whole message


class ScaleError(Exception):
    """A request to Scale that failed. ``str(error)`` is a sentence or two, the last of which says what to do next.

    status        HTTP status, None when there was no answer
    scale_message Scale's own text, cleaned and capped, None when there was none
    retryable     whether the same request may succeed later
    retry_after   seconds to wait before that, when known
    next_step     what to do now
    request_id    Scale's id of the (last) request, when it sent one
    in_doubt      whether the request, or an earlier attempt of it, may have taken effect in spite of the error
    may_still_happen  whether Scale may even be working on it: an attempt in doubt ended without Scale's own word
    """

    advice: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        scale_message: str | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
        next_step: str | None = None,
        request_id: str | None = None,
        in_doubt: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.scale_message = scale_message
        self.retryable = retryable
        self.retry_after = retry_after
        self.next_step = self.advice if next_step is None else next_step
        self.request_id = request_id
        self.in_doubt = in_doubt
        self.may_still_happen = in_doubt and status != 500

    def __str__(self) -> str:
        return cap(f"{self.message} {self.next_step}".strip(), MAX_MESSAGE)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class RefusedBeforeSending(ScaleError):
    """The request was refused on our side; Scale has not seen it."""


class ConnectionFailed(ScaleError):
    advice = "Check the network and the API address, then try again."


class DeadlineExceeded(ScaleError):
    advice = "Try again with more time, or ask for less at once."


class UnexpectedAnswer(ScaleError):
    advice = "Check that the API address is Scale's; a proxy may have answered instead."


class OutcomeUnknown(ScaleError):
    """A write whose outcome is not known. It was not repeated, because that might do it twice."""


class InvalidRequest(ScaleError):
    advice = "Correct the request; repeating it unchanged cannot help."


class Unauthorized(ScaleError):
    advice = "Check the API key: it is missing, wrong, revoked or of another account."


class NotEnabled(ScaleError):
    advice = "This feature or task type is not enabled for the account; ask Scale to enable it."


class Forbidden(ScaleError):
    advice = "The key's account or role may not do this."


class NotFound(ScaleError):
    advice = "Check the id or name; live and test data are separate worlds, and the key decides which one is seen."


class Conflict(ScaleError):
    """The name or id is taken. ``existing_task_id`` names the task that holds a unique_id, when known."""

    advice = "Use the existing object, or choose another name or id."

    @property
    def existing_task_id(self) -> str | None:
        found = re.search(r"\(([0-9a-fA-F]{24})\)", f"{self.scale_message} {self.message}")
        return found[1] if found else None


class TooLarge(ScaleError):
    advice = "Send less: files may have at most 80 MB."


class RateLimited(ScaleError):
    advice = "Wait a little, then try again, with fewer requests at once."


class ServerError(ScaleError):
    advice = "Scale has a problem of its own; try again later."


_BY_STATUS: dict[int, type[ScaleError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    402: NotEnabled,
    403: Forbidden,
    404: NotFound,
    408: ServerError,
    409: Conflict,
    413: TooLarge,
    429: RateLimited,
}


def error_for_status(
    status: int, text: str | None, *, retry_after: float | None = None, request_id: str | None = None
) -> ScaleError:
    """The error of an answer outside 200–299. ``text`` is Scale's own message, quoted cleaned and capped."""
    kind = _BY_STATUS.get(status)
    if kind is None:
        kind = InvalidRequest if 400 <= status < 500 else ServerError if status >= 500 else UnexpectedAnswer
    quote = one_line(text, MAX_QUOTE) if text else None
    stop = "" if quote and quote.endswith((".", "!", "?", "…")) else "."
    wait = f"Wait {retry_after:.0f} s, then try again." if retry_after and kind in (RateLimited, ServerError) else None
    return kind(
        f'Scale answered {status}: "{quote}"{stop}' if quote else f"Scale answered {status} without a message.",
        status=status,
        scale_message=quote,
        retryable=is_transient(status),
        retry_after=retry_after,
        next_step=wait,
        request_id=request_id,
        in_doubt=status == 408 or status >= 500,
    )


def is_transient(status: int) -> bool:
    """Whether the same request may get a better answer later."""
    return status in (408, 429) or status >= 500
