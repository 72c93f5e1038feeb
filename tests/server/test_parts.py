"""The small parts on their own: limit, redaction, fitting, cursors."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from typing import Any

import mcp.types as t
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from mcp import MCPError

from scale_mcp.server.limits import CallLimit
from scale_mcp.server.logs import Redactor, configure_logging, get_logger
from scale_mcp.server.paging import Pages
from scale_mcp.server.results import fence, fit, snake_case
from tests.small_cards import CANARY

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=20), inner, max_size=30),
    max_leaves=200,
)


def test_a_bucket_lets_its_measure_through_and_refills_steadily() -> None:
    now = [0.0]
    limit = CallLimit(60, clock=lambda: now[0])

    assert [limit.take() for _ in range(60)] == [0.0] * 60
    assert limit.take() == pytest.approx(1.0)
    now[0] += 1.0
    assert limit.take() == 0.0
    assert limit.take() == pytest.approx(1.0)
    now[0] += 3600
    assert [limit.take() for _ in range(60)] == [0.0] * 60
    assert limit.take() > 0


def test_no_limit_is_no_limit() -> None:
    assert not any(CallLimit(0).take() for _ in range(1000))


@pytest.mark.parametrize(
    "text",
    [
        CANARY,
        f"key={CANARY}!",
        base64.b64encode(f"{CANARY}:".encode()).decode(),
        f"Authorization: Basic {base64.b64encode(CANARY.encode()).decode()}",
        "Bearer eyJhbGciOi.J9.canary-token",
        "https://s3.example/file?X-Amz-Signature=canary&x=1",
        'HTTP Request: GET https://api.scale.com/v1/tasks?project=canary "HTTP/1.1 200"',
        "wss://h/p?canary",
    ],
)
def test_secrets_and_queries_are_taken_out(text: str) -> None:
    assert "canary" not in Redactor([CANARY])(text)
    assert base64.b64encode(CANARY.encode()).decode()[:12] not in Redactor([CANARY])(text)


@pytest.mark.parametrize("text", ["test_simple_text", "live_streaming", "What is 2 ? 3", "https://scale.com/docs"])
def test_ordinary_words_stay(text: str) -> None:
    assert Redactor([""])(text) == text


def test_what_looks_like_any_scale_key_is_taken_out() -> None:
    assert Redactor()("live_0123456789abcdef0123456789abcdef") == "[redacted]"


@pytest.mark.parametrize(
    "token", ["smcp_" + "a-_B" * 10 + "abc", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"]
)
def test_what_looks_like_any_token_is_taken_out(token: str) -> None:
    assert Redactor()(f"found {token} there") == "found [redacted] there"


@pytest.fixture(autouse=True)
def _logging_put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("form", ["json", "console"])
def test_log_lines_go_to_stderr_without_secrets(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug", form, [CANARY])
    try:
        raise RuntimeError(f"{CANARY} at https://h/p?q={CANARY}")
    except RuntimeError:
        get_logger("scale_mcp.test").exception("went_wrong", url="https://h/p?secret=canary", key=CANARY)
    logging.getLogger("httpx2").info("GET https://h/p?canary")
    logging.getLogger("some.library").warning("found %s", CANARY)
    logging.warning("on the root: %s", CANARY)

    out, lines = capsys.readouterr()
    assert "went_wrong" in lines
    assert "RuntimeError" in lines
    assert "some.library" in lines
    assert "canary" not in lines
    assert out == ""
    if form == "json":
        assert {json.loads(line)["level"] for line in lines.splitlines()} == {"error", "warning"}


def test_a_server_that_nobody_configured_logs_nothing_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert not structlog.is_configured()

    get_logger("scale_mcp.test").warning("before any configuration")

    assert capsys.readouterr().out == ""


def test_only_one_handler_stays_however_often_logging_is_configured() -> None:
    for _ in range(3):
        configure_logging("info")
    logging.basicConfig()

    assert len(logging.getLogger().handlers) == 1


@given(value=JSON, limit=st.integers(min_value=50, max_value=3000))
def test_what_fits_is_untouched_and_what_does_not_keeps_its_types(value: Any, limit: int) -> None:
    shorter, cut = fit({"value": value}, limit)

    assert type(shorter["value"]) is type(value)
    if len(json.dumps({"value": value}, ensure_ascii=False, separators=(",", ":"))) <= limit:
        assert (shorter, cut) == ({"value": value}, False)
    else:
        assert cut


def test_a_huge_value_is_made_to_fit() -> None:
    value = {"docs": [{"text": "x" * 10_000, "points": list(range(10_000))} for _ in range(500)], "total": 500}

    shorter, cut = fit(value, 20_000)

    assert cut
    assert len(json.dumps(shorter)) <= 20_000
    assert shorter["total"] == 500
    assert shorter["docs"]


@given(text=st.text(max_size=300))
def test_the_marks_around_foreign_text_cannot_be_forged(text: str) -> None:
    first, *inner, last = fence(text).split("\n")

    token = first.removeprefix("<scale-data ").removesuffix(">")
    assert last == f"</scale-data {token}>"
    assert token not in "\n".join(inner)
    assert "\n".join(inner) == text


def test_the_marks_differ_from_result_to_result() -> None:
    assert len({fence("x") for _ in range(50)}) == 50


def test_error_codes_are_the_names_of_the_errors() -> None:
    assert [snake_case(name) for name in ("NotFound", "OutcomeUnknown", "Conflict")] == [
        "not_found",
        "outcome_unknown",
        "conflict",
    ]


def test_a_cursor_of_another_list_is_refused() -> None:
    items = list(range(10))
    _, cursor = Pages(4).page(items, None)

    with pytest.raises(MCPError):
        Pages(4).page(items, t.PaginatedRequestParams(cursor=cursor))


@given(cursor=st.text(max_size=60))
def test_no_text_passes_for_a_cursor(cursor: str) -> None:
    with pytest.raises(MCPError):
        Pages(4).page(range(10), t.PaginatedRequestParams(cursor=cursor))
