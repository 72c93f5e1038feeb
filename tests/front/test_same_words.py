"""What the front says is what the server says: under every selection, in every version of the protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scale_mcp.front.answers import FILE, answers
from scale_mcp.front.options import understood
from scale_mcp.settings import SettingsError
from scale_mcp.tools.registry import cards
from tests.front.talking import Values, front_alone, without_front
from tests.front.wording import LEGACY, LISTS, MODERN, READY, hello, modern, request

TOOLSETS = sorted({card.toolset for card in cards().values()})
TOOLS = list(cards())
HARMFUL = [card.name for card in cards().values() if card.risk == "destroy"]
READS = ("list_projects", "get_project", "list_batches", "get_batch", "list_tasks", "get_task")
SELECTIONS: list[list[str]] = [
    [],
    ["--read-only"],
    ["--discovery"],
    ["--discovery", "--read-only"],
    ["--discovery", f"--exclude-tools={','.join(HARMFUL)}"],
    ["--discovery", "--toolsets", "files,team"],
    ["--discovery", "--tools", "get_task"],
    *(["--toolsets", toolset] for toolset in TOOLSETS),
    *(["--toolsets", toolset, "--discovery", "--read-only"] for toolset in TOOLSETS),
    ["--toolsets", "all"],
    ["--toolsets", "all,team", "--tools", "get_task"],
    ["--toolsets=tasks, batches", "--read-only"],
    ["--toolsets", "tasks", "--toolsets", "files"],
    ["--tools", "get_task"],
    ["--tools", "create_project,get_task", "--read-only"],
    ["--tools", "list_projects", "--tools=get_batch"],
    ["--tools", "get_task", "--toolsets", "team", "--exclude-tools", "list_teammates"],
    *(["--exclude-tools", name] for name in READS),
    ["--exclude-tools", ",".join(READS)],
    ["--sandbox-clock", "manual", "--confirm", "always", "--confirm-risk", "write", "--log-level", "error"],
    ["--max-in-flight", "3", "--max-calls-per-minute=60", "--call-timeout", "9", "--max-result-chars", "5000"],
]


def opening(version: str) -> list[bytes]:
    """Everything that the front answers, in one connection."""
    if version == MODERN:
        return [modern(method, method) for method in ("server/discover", *LISTS)]
    return [hello(version), READY, *(request(method, method) for method in (*LISTS, "ping"))]


def assert_same_words(version: str, values: Values) -> None:
    said = front_alone(opening(version), values)

    assert said.handover is None
    assert said.values == without_front(opening(version), values).values
    assert len(said.messages) == (6 if version != MODERN else 5)
    assert all("result" in message for message in said.messages)


@pytest.mark.parametrize("version", [*LEGACY, MODERN])
def test_the_words_are_the_same_in_every_version(version: str):
    assert_same_words(version, {})


@pytest.mark.parametrize("arguments", SELECTIONS, ids=" ".join)
def test_the_words_are_the_same_under_every_selection_given_by_flags(arguments: list[str]):
    known = understood(["--sandbox", *arguments])

    assert known is not None
    for version in (LEGACY[-1], MODERN):
        assert_same_words(version, known[1])


@pytest.mark.parametrize(
    "variables",
    [
        {"READ_ONLY": "true"},
        {"READ_ONLY": "false", "DISCOVERY": "1"},
        {"DISCOVERY": "0", "TOOLSETS": "team"},
        {"TOOLSETS": "projects , team", "TOOLS": "get_task", "EXCLUDE_TOOLS": "create_project"},
        {"UPLOAD_ROOT": "", "DOWNLOAD_ROOT": "", "READ_ONLY": "false", "SANDBOX": "true"},
    ],
    ids=str,
)
def test_the_words_are_the_same_under_a_selection_given_by_variables(variables, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(f"SCALE_MCP_{name}", value)

    known = understood(["--sandbox"])

    assert known is not None
    assert_same_words(LEGACY[0], known[1])


def test_a_flag_wins_over_its_variable(monkeypatch):
    monkeypatch.setenv("SCALE_MCP_TOOLSETS", "team")

    known = understood(["--sandbox", "--toolsets", "files"])

    assert known is not None
    assert_same_words(MODERN, known[1])


def some(names: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), max_size=4)


@settings(max_examples=30, deadline=None)
@given(
    toolsets=some([*TOOLSETS, "all"]),
    tools=some(TOOLS),
    exclude_tools=some(TOOLS),
    read_only=st.booleans(),
    discovery=st.booleans(),
)
def test_the_words_are_the_same_under_any_selection(**values: Any):
    given_values = {name: value for name, value in values.items() if value}
    if answers(given_values) is None:
        with pytest.raises(SettingsError, match="leaves no tool"):
            without_front([], given_values)
        return
    assert_same_words(MODERN, given_values)


@pytest.mark.parametrize(
    "values",
    [
        {"toolsets": ["taks"]},
        {"tools": ["get_tasks"]},
        {"exclude_tools": ["team"]},
        {"tools": ["create_project"], "read_only": True},
        {"toolsets": ["team"], "exclude_tools": ["list_teammates", "invite_team_member", "set_teammate_role"]},
    ],
    ids=str,
)
def test_the_front_leaves_a_selection_that_the_server_refuses_to_the_server(values: Values):
    assert answers(values) is None
    with pytest.raises(SettingsError):
        without_front([], values)


def test_the_front_steps_aside_for_another_version_of_the_sdk(tmp_path, monkeypatch):
    other = Path(FILE).read_text(encoding="utf-8").replace("mcp-", "mcp-1", 1)
    (tmp_path / "opening.answers").write_text(other, encoding="utf-8")
    monkeypatch.setattr("scale_mcp.front.answers.FILE", str(tmp_path / "opening.answers"))

    assert answers({}) is None


def test_the_front_steps_aside_without_its_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("scale_mcp.front.answers.FILE", str(tmp_path / "opening.answers"))

    assert answers({}) is None


def test_the_front_says_it_in_as_few_bytes_as_the_server():
    script = [hello(), READY, *(request(method, 1) for method in LISTS)]

    assert len(front_alone(script).written) == len(without_front(script).written)
