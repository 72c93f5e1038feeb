"""What a persona may use: nothing by default, and a denial wins over whatever allows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scale_mcp.hosting.personas import Persona
from scale_mcp.hosting.scopes import TOOLSETS, allows, covers, problems_with_denials, problems_with_scopes
from scale_mcp.tools.card import RISKS
from scale_mcp.tools.registry import hosted_cards

CARDS = list(hosted_cards().values())
every_card = st.sampled_from(CARDS)
scopes = st.one_of(
    st.just("*"),
    st.builds("{}:{}".format, st.sampled_from([*TOOLSETS, "*"]), st.sampled_from([*RISKS, "*"])),
)
tools = st.sampled_from([card.name for card in CARDS])


def persona(**fields: Any) -> Persona:
    return Persona(id="per_1", name="p", **fields)


def may(who: Persona, card: Any) -> bool:
    return allows(who, card.name, card.toolset, card.risk)


personas = st.builds(
    persona,
    scopes=st.lists(scopes, max_size=4).map(tuple),
    tools=st.lists(tools, max_size=3).map(tuple),
    deny=st.lists(st.one_of(scopes, tools), max_size=3).map(tuple),
    read_only=st.booleans(),
    disabled=st.booleans(),
)


@given(every_card)
def test_a_persona_without_scopes_may_use_nothing(card: Any) -> None:
    assert not may(persona(), card)


@given(every_card)
def test_everything_is_allowed_by_a_star_alone(card: Any) -> None:
    assert may(persona(scopes=("*",)), card)
    assert may(persona(scopes=("*:*",)), card)


@given(personas, every_card)
def test_what_is_denied_is_never_allowed(who: Persona, card: Any) -> None:
    denied = any(entry == card.name or covers(entry, card.toolset, card.risk) for entry in who.deny)
    assert not (denied and may(who, card))


@given(personas, every_card, st.one_of(scopes, tools))
def test_one_more_denial_never_allows_more(who: Persona, card: Any, denial: str) -> None:
    stricter = persona(**{**_fields(who), "deny": (*who.deny, denial)})
    assert may(who, card) or not may(stricter, card)


@given(personas, every_card, scopes)
def test_one_more_scope_never_allows_less(who: Persona, card: Any, scope: str) -> None:
    wider = persona(**{**_fields(who), "scopes": (*who.scopes, scope)})
    assert may(wider, card) or not may(who, card)


@given(personas, every_card)
def test_what_is_allowed_is_named_by_a_scope_or_as_a_tool(who: Persona, card: Any) -> None:
    named = card.name in who.tools or any(covers(scope, card.toolset, card.risk) for scope in who.scopes)
    assert named or not may(who, card)


@given(personas, every_card)
def test_who_reads_only_changes_nothing_and_who_is_disabled_does_nothing(who: Persona, card: Any) -> None:
    assert not (who.read_only and card.risk != "read" and may(who, card))
    assert not (who.disabled and may(who, card))


def _fields(who: Persona) -> dict[str, Any]:
    return {name: getattr(who, name) for name in ("scopes", "tools", "deny", "read_only", "disabled")}


@pytest.mark.parametrize(
    ("scope", "allowed", "refused"),
    [
        ("tasks:read", ["get_task", "list_tasks"], ["cancel_task", "create_segmentation_task", "get_batch"]),
        ("batches:spend", ["finalize_batch"], ["get_batch", "create_batch"]),
        ("*:read", ["get_task", "list_teammates", "list_events"], ["add_task_tags"]),
        ("team:*", ["list_teammates", "invite_team_member"], ["get_task"]),
        ("tasks:write", ["add_task_tags"], ["get_task", "set_task_tags"]),
    ],
)
def test_a_scope_grants_exactly_its_risk_in_its_toolset(scope: str, allowed: list[str], refused: list[str]) -> None:
    who = persona(scopes=(scope,))
    cards = hosted_cards()
    assert all(may(who, cards[name]) for name in allowed)
    assert not any(may(who, cards[name]) for name in refused)


def test_a_single_tool_is_allowed_without_its_scope_unless_it_is_denied() -> None:
    card = hosted_cards()["finalize_batch"]
    assert may(persona(tools=("finalize_batch",)), card)
    assert not may(persona(tools=("finalize_batch",), deny=("finalize_batch",)), card)
    assert not may(persona(tools=("finalize_batch",), deny=("*:spend",)), card)
    assert not may(persona(tools=("finalize_batch",), scopes=("*",), read_only=True), card)


@given(st.text(max_size=30))
def test_a_text_that_is_no_scope_covers_nothing_and_is_told(text: str) -> None:
    told = list(problems_with_scopes([text]))
    if told:
        assert not any(covers(text, card.toolset, card.risk) for card in CARDS)
        assert "is not a scope" in told[0]


def test_every_risk_and_toolset_of_a_tool_can_be_written_as_a_scope() -> None:
    assert not list(problems_with_scopes(card.scope for card in CARDS))
    assert not list(problems_with_denials([*(card.scope for card in CARDS), *(card.name for card in CARDS), "*"]))
