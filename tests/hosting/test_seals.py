"""Cursors belong to one persona and one list. Whatever else is handed back is refused in the same words."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scale_mcp.hosting.seals import BadCursor, CursorSeal

KEY = secrets.token_bytes(32)
ADA, BOB = CursorSeal(KEY, "per_ada"), CursorSeal(KEY, "per_bob")
cursors = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
ids = st.from_regex(r"per_[a-z0-9]{1,16}", fullmatch=True)


def opened(seal: CursorSeal, cursor: str, tool: str = "list_tasks", scope: tuple[str, ...] = ("streets", "")) -> str:
    return seal.open(cursor, argument="next_token", tool=tool, scope=scope)


def sealed(seal: CursorSeal, cursor: str) -> str:
    return seal.seal(cursor, tool="list_tasks", scope=("streets", ""))


def refusal(seal: CursorSeal, cursor: str, **where: object) -> tuple[str, str]:
    with pytest.raises(BadCursor) as problem:
        opened(seal, cursor, **where)  # type: ignore[arg-type]
    return str(problem.value), problem.value.code


MADE_UP = refusal(ADA, "made-up")


@given(cursors)
def test_a_cursor_comes_back_as_it_was(cursor: str) -> None:
    given_out = sealed(ADA, cursor)
    assert cursor not in given_out or len(cursor) < 4
    assert opened(ADA, given_out) == cursor
    assert opened(CursorSeal(KEY, "per_ada"), given_out) == cursor, "another replica opens it, too"


@given(cursors, ids)
def test_another_personas_cursor_is_refused_like_a_made_up_one(cursor: str, other: str) -> None:
    assume(other != "per_ada")
    assert refusal(CursorSeal(KEY, other), sealed(ADA, cursor)) == MADE_UP


@given(st.text(max_size=300))
def test_any_text_is_refused_in_the_same_words(text: str) -> None:
    assert refusal(ADA, text) == MADE_UP


@given(cursors, st.data())
def test_a_cursor_with_one_character_changed_is_refused(cursor: str, data: st.DataObject) -> None:
    good = sealed(ADA, cursor)
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
    assume(other != good[place])
    assert refusal(ADA, good[:place] + other + good[place + 1 :]) == MADE_UP


@pytest.mark.parametrize("where", [{"tool": "list_assets"}, {"scope": ("yards", "")}, {"scope": ("", "streets")}])
def test_a_cursor_of_another_list_is_refused_like_a_made_up_one(where: dict[str, object]) -> None:
    assert refusal(ADA, sealed(ADA, "100"), **where) == MADE_UP


def test_a_cursor_under_another_key_or_far_too_long_is_refused_like_a_made_up_one() -> None:
    assert refusal(CursorSeal(secrets.token_bytes(32), "per_ada"), sealed(ADA, "100")) == MADE_UP
    assert refusal(ADA, sealed(ADA, "100") * 1_000) == MADE_UP


def test_the_same_cursor_is_never_given_out_twice_alike() -> None:
    assert len({sealed(ADA, "100") for _ in range(50)}) == 50


def test_persona_and_scope_cannot_be_shifted_into_each_other() -> None:
    given_out = CursorSeal(KEY, "a").seal("1", tool="t", scope=("b", "c"))
    with pytest.raises(BadCursor):
        CursorSeal(KEY, "a").open(given_out, argument="x", tool="t", scope=('b", "c',))


def test_a_key_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        CursorSeal(b"short", "per_ada")
