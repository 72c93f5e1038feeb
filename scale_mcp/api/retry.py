"""When to try again. The whole policy is here, readable top to bottom.

- What: connection failures and the statuses 408, 429 and 5xx; for a request that must not happen twice only what
  certainly did not happen (see ``Repeat``).
- How often: up to ``attempts`` times. A 429 counts apart, up to ``rate_limited_attempts``: it did nothing, and it
  passes with time.
- When: after the ``Retry-After`` of the answer if it is sane, else after a pause that doubles each time, with jitter.
- Never past the deadline of the caller: then the error goes out at once, with the server's wait.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum

from scale_mcp.api.errors import RateLimited, ScaleError
from scale_mcp.api.options import ApiOptions

LONGEST_BELIEVED = 24 * 3600  # seconds; a Retry-After beyond a day is a mistake


class Repeat(Enum):
    """What may be done when it is not known whether a request took effect."""

    FREELY = "repeat it: twice is as good as once"
    RECOVER = "repeat it: its caller settles the conflict that a repeat may meet"
    ONCE = "do not repeat it: say that the outcome is unknown"


def pause_before_retry(error: ScaleError, attempt: int, options: ApiOptions, *, rate_limited: int) -> float | None:
    """Seconds to wait after the ``attempt``-th attempt (from 1) failed, or None to give up.

    ``rate_limited`` of the attempts, this one included, were answered 429.
    """
    if isinstance(error, RateLimited):
        used_up = rate_limited >= options.rate_limited_attempts
    else:
        used_up = attempt - rate_limited >= options.attempts
    if used_up or not error.retryable:
        return None
    if error.retry_after is not None:
        if error.retry_after > options.max_retry_after:
            return None
        spread = min(1.0, options.backoff_base) * options.random()  # so that not all come back in the same instant
        return error.retry_after + spread
    longest = min(options.backoff_cap, options.backoff_base * 2.0 ** (attempt - 1))
    return longest * (0.5 + 0.5 * options.random())


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds of a ``Retry-After`` header, given as seconds or as a date. None when absent or not sane."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        seconds = float(value)
    elif value:
        then, now = _date(value), _date(headers.get("date", "")) or datetime.now(UTC)
        if then is None:
            return None
        seconds = max(0.0, (then - now).total_seconds())
    else:
        return None
    return seconds if math.isfinite(seconds) and 0 <= seconds <= LONGEST_BELIEVED else None


def _date(value: str) -> datetime | None:
    from email.utils import parsedate_to_datetime

    try:
        parsed = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
