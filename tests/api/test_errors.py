"""Errors say what happened and what to do next, in a bounded, harmless text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import scale_mcp.api
from scale_mcp.api import errors
from scale_mcp.api.errors import Conflict, ScaleError, error_for_status
from scale_mcp.text import clean


def kinds() -> list[type[ScaleError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ScaleError)]


def test_the_tree_at_the_top_of_the_module_names_every_error():
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))

    assert drawn == {kind.__name__ for kind in kinds()} - {"ScaleError"}


def test_every_error_is_exported():
    assert {kind.__name__ for kind in kinds()} <= set(scale_mcp.api.__all__)


@given(st.integers(300, 599), st.text(max_size=2000))
def test_whatever_scale_says_the_message_is_short_clean_and_ends_with_the_next_step(status: int, text: str):
    error = error_for_status(status, text)
    said = str(error)

    assert error.status == status
    assert len(said) <= 700
    assert clean(said) == said
    assert "\n" not in said
    assert said.endswith(error.next_step)
    assert error.next_step


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_after_a_servers_failure_a_write_is_in_doubt(status: int):
    assert error_for_status(status, "x").in_doubt


@pytest.mark.parametrize("status", [302, 400, 401, 404, 409, 413, 429])
def test_after_a_refusal_it_is_not(status: int):
    assert not error_for_status(status, "x").in_doubt


@pytest.mark.parametrize(
    ("text", "task_id"),
    [
        (
            'The unique_id ("a") is already used for a different task (65f0c1d2e3a4b5c6d7e8f901).',
            "65f0c1d2e3a4b5c6d7e8f901",
        ),
        ("Taken.", None),
        ("Taken (soon).", None),
        (None, None),
    ],
)
def test_a_conflict_knows_the_task_that_it_is_with(text: str | None, task_id: str | None):
    error = error_for_status(409, text)

    assert isinstance(error, Conflict)
    assert error.existing_task_id == task_id


def test_the_wait_is_told():
    error = error_for_status(429, None, retry_after=12.4)

    assert str(error) == "Scale answered 429 without a message. Wait 12 s, then try again."
    assert repr(error) == f"RateLimited({str(error)!r})"
