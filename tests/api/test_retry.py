"""When to try again, with the numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scale_mcp.api import ApiOptions
from scale_mcp.api.errors import ConnectionFailed, RateLimited, ServerError, error_for_status
from scale_mcp.api.retry import pause_before_retry, retry_after

DATE = "Tue, 12 Mar 2024 10:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("86400", 86400.0),
        ("Tue, 12 Mar 2024 10:00:30 GMT", 30.0),
        ("Tue, 12 Mar 2024 09:00:00 GMT", 0.0),  # past
        ("Tue, 12 Mar 2024 11:00:10 +0100", 10.0),
        ("", None),
        ("-1", None),
        ("86401", None),
        ("1e3", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("９", None),
        ("Tue, 12 Mar 2034 10:00:30 GMT", None),
        ("99999999999999999999", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date_when_it_is_sane(value: str, seconds: float | None):
    assert retry_after({"retry-after": value, "date": DATE}) == seconds


def test_a_date_counts_from_our_clock_when_the_server_tells_none():
    assert retry_after({"retry-after": DATE}) == 0.0
    assert retry_after({"retry-after": DATE, "date": "yesterday"}) == 0.0


@given(st.text(max_size=60), st.text(max_size=40))
def test_no_header_however_odd_breaks_reading_it(value: str, date: str):
    seconds = retry_after({"retry-after": value, "date": date})

    assert seconds is None or 0 <= seconds <= 86400


def test_pauses_double_up_to_the_cap_and_are_spread():
    error = ServerError("Scale answered 500.", retryable=True)
    low = ApiOptions(attempts=9, backoff_base=1, backoff_cap=10, random=lambda: 0.0)
    high = ApiOptions(attempts=9, backoff_base=1, backoff_cap=10, random=lambda: 1.0)

    assert [pause_before_retry(error, attempt, low, rate_limited=0) for attempt in range(1, 7)] == [0.5, 1, 2, 4, 5, 5]
    assert [pause_before_retry(error, attempt, high, rate_limited=0) for attempt in range(1, 7)] == [1, 2, 4, 8, 10, 10]


def test_the_servers_wait_is_kept_to_and_spread_a_little():
    error = RateLimited("Scale answered 429.", retryable=True, retry_after=20)

    assert pause_before_retry(error, 1, ApiOptions(random=lambda: 0.0), rate_limited=0) == 20
    assert pause_before_retry(error, 1, ApiOptions(random=lambda: 1.0), rate_limited=0) == 20.5


def test_a_wait_that_is_too_long_is_not_waited_for():
    error = RateLimited("Scale answered 429.", retryable=True, retry_after=61)

    assert pause_before_retry(error, 1, ApiOptions(), rate_limited=0) is None


def test_the_last_attempt_is_the_last():
    error = ConnectionFailed("Lost.", retryable=True)

    assert pause_before_retry(error, 3, ApiOptions(attempts=4), rate_limited=0) is not None
    assert pause_before_retry(error, 4, ApiOptions(attempts=4), rate_limited=0) is None


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 530])
def test_passing_troubles_are_retried(status: int):
    assert error_for_status(status, "x").retryable


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 405, 409, 413, 422])
def test_refusals_are_not_retried(status: int):
    assert not error_for_status(status, "x").retryable
