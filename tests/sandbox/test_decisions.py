"""Every open question has one answer, in one place, and the code that depends on it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from scale_mcp.sandbox import decisions

DECISIONS = {name: value for name, value in vars(decisions).items() if isinstance(value, decisions.Decision)}
CODE = "\n".join(
    path.read_text(encoding="utf-8")
    for path in Path(decisions.__file__).parent.rglob("*.py")
    if path.name != "decisions.py"
)


@pytest.mark.parametrize("name", DECISIONS)
def test_a_decision_is_named_where_it_is_taken(name: str) -> None:
    assert name in CODE


@pytest.mark.parametrize("name", DECISIONS)
def test_a_decision_asks_something_and_answers_it(name: str) -> None:
    decision = DECISIONS[name]
    assert decision.question.endswith("?")
    assert decision.choice.rstrip("`")[-1] in ".*}"
