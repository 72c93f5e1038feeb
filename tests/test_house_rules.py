"""Rules over the whole tree: what a linter cannot know about tools, texts and modules."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import house_rules
from scale_mcp.text import clean
from scale_mcp.tools.card import Card
from scale_mcp.tools.registry import THE_FORTY, cards, hosted_cards

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = sorted((ROOT / "scale_mcp").rglob("*.py"))
HIDDEN_ORDERS = re.compile(
    r"\b(ignore (all|any|previous)|(do not|never) (tell|mention|reveal)|without telling|secretly|system prompt)\b",
    re.IGNORECASE,
)
every_card = pytest.mark.parametrize("card", list(hosted_cards().values()), ids=lambda card: card.name)


@pytest.mark.parametrize("rule", house_rules.RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_house_rule_that(rule: Callable[[], Iterator[str]]):
    assert list(rule()) == []


def test_the_rules_notice_a_machine_s_path_a_registry_and_unfinished_work():
    files = {"a.py": f"x = 1\nopen('{house_rules.MACHINE_PATHS[0]}/x')\n# see https://{house_rules.REGISTRIES[0]}/x"}

    found = list(house_rules.lines_with([*house_rules.REGISTRIES, *house_rules.MACHINE_PATHS], files))

    assert [line.split(":")[1] for line in found] == ["2", "3"]


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_printed_as_standard_output_belongs_to_the_protocol(path: Path):
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]

    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


def test_importing_the_package_imports_nothing_else():
    module = ast.parse((ROOT / "scale_mcp" / "__init__.py").read_text(encoding="utf-8"))

    assert not [node for node in ast.walk(module) if isinstance(node, ast.Import | ast.ImportFrom)]


def test_there_are_forty_actions_and_six_more_tools():
    assert len(THE_FORTY) == 40
    assert len(cards()) == 46
    assert set(THE_FORTY) < set(cards())


@every_card
def test_every_tool_decorator_names_title_toolset_and_risk(card: Card):
    """The hints follow from the risk, which nobody may leave to a default."""
    source = Path(str(card.handler.__code__.co_filename)).read_text(encoding="utf-8")
    (function,) = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.AsyncFunctionDef) and node.name == card.name
    ]
    (decorator,) = [
        node
        for node in function.decorator_list
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tool"
    ]

    assert {"title", "toolset", "risk"} <= {keyword.arg for keyword in decorator.keywords}


def test_every_call_that_is_final_says_what_a_person_agrees_to():
    final = {name for name, card in cards().items() if card.final}

    assert final == {"finalize_batch"}
    assert {name for name, card in cards().items() if card.risk == "destroy"} | final == {
        name for name, card in cards().items() if card.consequence
    }


@every_card
def test_a_description_says_what_it_is_and_commands_nothing_hidden(card: Card):
    assert len(card.description) > 40
    assert clean(card.description) == card.description
    assert not HIDDEN_ORDERS.search(card.description)


@every_card
def test_a_name_is_short_enough_for_every_host(card: Card):
    """Hosts prefix names with the server's (mcp__scale__…) and drop what passes 64 characters."""
    assert re.fullmatch(r"[a-z][a-z_]{2,45}", card.name)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_the_readers_documents_are_there(name: str):
    assert (ROOT / name).read_text(encoding="utf-8").startswith("# ")
