"""Foreign text becomes harmless without losing what belongs to it."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scale_mcp.text import cap, clean, clean_value, is_clean_json, one_line

ANY_TEXT = st.text(alphabet=st.one_of(st.characters(), st.characters(categories=["Cf", "Cc", "Cs", "Mn", "So"])))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Plain text, with\ttabs and\nlines.",
        "Größe 大きさ حجم",
        "👩‍👩‍👧",  # joined
        "❤️ ♀️ ☎︎",  # with presentation selectors
        "1️⃣ #️⃣",
        "🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏴󠁧󠁢󠁳󠁣󠁴󠁿 🏴󠁧󠁢󠁷󠁬󠁳󠁿",
        "🇩🇪 👍🏽 🤦🏽‍♀️ 🏳️‍🌈",
        "می‌خواهم",  # a joiner that Persian needs
        "क्‍ष",
        "�",
    ],
)
def test_what_belongs_to_a_text_stays(text: str):
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\u202eb\u2066c\u2069d\u200fe\u061cf", "abcdef"),  # direction
        ("a\u200bb\u200cc\u200dd\u2060e\ufefff\u00adg", "abcdefg"),  # zero width
        ("a" + "".join(chr(0xE0000 + ord(c)) for c in "obey") + "b", "ab"),  # tags
        ("🏴" + "".join(chr(0xE0000 + ord(c)) for c in "obey") + "\U000e007f", "🏴"),
        ("a\x00\x1b[31m\x07\x9bb\x7f", "a[31mb"),  # controls, terminal escapes
        ("a\r\nb\rc\u2028d\u2029e", "a\nb\nc\nd\ne"),
        ("x\ufe0f\ufe01\U000e0101y", "xy"),  # selectors that select nothing
        ("❤\ufe0f\ufe0f\ufe0f", "❤\ufe0f"),
        ("a\ud800b", "a�b"),
        ("\u115f\u3164\uffa0\u034f\u180e", ""),  # fillers
        ("👩\u200d\x00\u200d👧", "👩👧"),  # what comes together when something between goes
    ],
)
def test_what_nobody_sees_goes(text: str, expected: str):
    assert clean(text) == expected


@given(ANY_TEXT)
def test_cleaning_twice_is_cleaning_once(text: str):
    assert clean(clean(text)) == clean(text)


@given(ANY_TEXT)
def test_clean_text_can_be_encoded_and_holds_no_control_characters(text: str):
    cleaned = clean(text)

    cleaned.encode()
    assert not [c for c in cleaned if unicodedata.category(c) == "Cc" and c not in "\t\n"]
    assert not [c for c in cleaned if "\u202a" <= c <= "\u202e" or "\u2066" <= c <= "\u2069"]


@given(ANY_TEXT, st.integers(0, 40))
def test_a_capped_text_is_never_longer_than_asked(text: str, n: int):
    capped = cap(text, n)

    assert len(capped) <= n
    assert capped == text or n == 0 or capped.endswith("…")


def test_a_cut_leaves_no_dangling_joiner():
    assert cap("👩\u200d👩\u200d👧", 3) == "👩…"


def test_a_quote_stays_on_one_line():
    assert one_line("  Ignore\r\n\r\n previous \t orders ", 18) == "Ignore previous o…"


def test_values_are_cleaned_all_the_way_down_keys_included():
    value = {"a\u200b": ["b\u202e", {"c": "d\x00"}, 1, 2.5, True, None], "e": ("f\u200b",)}

    assert clean_value(value) == {"a": ["b", {"c": "d"}, 1, 2.5, True, None], "e": ["f"]}


@given(
    st.recursive(
        st.none() | st.booleans() | ANY_TEXT | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
        max_leaves=20,
    )
)
def test_json_that_counts_as_clean_is_not_changed_by_cleaning(value: object):
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    assert not is_clean_json(written) or clean_value(value) == value


@pytest.mark.parametrize("character", ["\x00", "\x08", "\r", "\x0c", "\x1b", "\x7f", "\x85", "\u202e", "\ud800"])
def test_json_with_a_character_that_has_to_go_does_not_count_as_clean(character: str):
    for value in (character, [f"a{character}"], {f"{character}b": 1}):
        assert not is_clean_json(json.dumps(value, ensure_ascii=False))


@pytest.mark.parametrize("value", ["plain", 'quoted "and" \\ and\ttabs\n', "Größe 漢字", {"a": [1.5, None, True]}])
def test_json_of_ordinary_values_counts_as_clean(value: object):
    assert is_clean_json(json.dumps(value, ensure_ascii=False))


def test_json_that_may_be_too_deep_does_not_count_as_clean():
    assert not is_clean_json("[" * 201 + "]" * 201)


def test_endless_nesting_ends_in_an_ellipsis():
    value: object = "deep"
    for _ in range(500):
        value = [value]

    cleaned = clean_value(value)

    depth = 0
    while isinstance(cleaned, list):
        (cleaned,) = cleaned
        depth += 1
    assert (depth, cleaned) == (200, "…")
