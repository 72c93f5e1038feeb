"""Whatever the front understands of how it was started, the command line takes, and takes to mean the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scale_mcp.cli.app import app
from scale_mcp.cli.connecting import check_key
from scale_mcp.cli.hosts import PLACEHOLDER
from scale_mcp.front.answers import answers
from scale_mcp.front.options import CHOICES, FOLDERS, NAMES, NUMBERS, SWITCHES, understood
from scale_mcp.server.selection import select
from scale_mcp.settings import Settings, load_settings
from scale_mcp.tools.registry import cards

KEY = "test_0123456789abcdef0123456789abcdef"
HERE = str(Path(__file__).parent)
Environment = dict[str, str]


def accepted(arguments: list[str]) -> Settings:
    """The settings that ``scale-mcp serve`` starts with. Raises for whatever it refuses."""
    started: list[Settings] = []
    with patch("scale_mcp.cli.serving.serve_until_told", side_effect=lambda found: started.append(found) or 0):
        app(["serve", *arguments], prog_name="scale-mcp", standalone_mode=False)
    check_key(started[0])
    select(cards(), started[0])
    return started[0]


def assert_of_one_mind(arguments: list[str], variables: Environment) -> bool:
    """Whether the front speaks; if so, check that the command line would have started in the same way."""
    with patch.dict(os.environ, variables):
        known = understood(arguments)
        if known is None or answers(known[1]) is None:
            return False
        flags, values = known
        settings = accepted(arguments)
        assert load_settings(flags) == settings
    for name in NAMES:
        assert set(getattr(settings, name)) == set(values.get(name, []))
    for name in SWITCHES:
        assert getattr(settings, name) is bool(values.get(name, False))
    assert settings.transport == "stdio"
    assert settings.list_page_size == 0
    assert not settings.conformance
    return True


SPEAKS: dict[str, tuple[list[str], Environment]] = {
    "the sandbox": (["--sandbox"], {}),
    "the sandbox by variable": ([], {"SCALE_MCP_SANDBOX": "true"}),
    "the sandbox with a key": (["--sandbox"], {"SCALE_API_KEY": KEY}),
    "a key": ([], {"SCALE_API_KEY": KEY}),
    "a live key": ([], {"SCALE_API_KEY": "live_abc|test_x-Y"}),
    "Scale's address": ([], {"SCALE_API_KEY": KEY, "SCALE_API_URL": "https://api.scale.com/v1"}),
    "an address with a slash": ([], {"SCALE_API_KEY": KEY, "SCALE_API_URL": "https://api.scale.com/v1/"}),
    "an address of this machine": ([], {"SCALE_API_KEY": KEY, "SCALE_API_URL": "http://127.0.0.1:8123/v1"}),
    "no address": ([], {"SCALE_API_KEY": KEY, "SCALE_API_URL": ""}),
    "what a bundle's host fills in": (
        [],
        {
            "SCALE_API_KEY": KEY,
            "SCALE_MCP_SANDBOX": "false",
            "SCALE_MCP_READ_ONLY": "true",
            "SCALE_MCP_UPLOAD_ROOT": "",
            "SCALE_MCP_DOWNLOAD_ROOT": HERE,
        },
    ),
    "the transport": (["--sandbox", "--transport", "stdio"], {"SCALE_MCP_TRANSPORT": "stdio"}),
    "switches twice": (["--sandbox", "--sandbox", "--read-only"], {"SCALE_MCP_READ_ONLY": "false"}),
    "values with = and without": (["--sandbox", "--toolsets=team", "--tools", "get_task", "--log-level=debug"], {}),
    "a folder": (["--sandbox", "--upload-root", HERE], {"SCALE_MCP_DOWNLOAD_ROOT": HERE}),
    "no folder": (["--sandbox", "--upload-root", "", "--download-root="], {"SCALE_MCP_DOWNLOAD_ROOT": HERE}),
    "numbers": (["--sandbox", "--max-in-flight", "256", "--call-timeout", "1"], {"SCALE_MCP_MAX_RESULT_CHARS": "2000"}),
    "numbers with noughts": (["--sandbox", "--max-in-flight", "0016"], {"SCALE_MCP_MAX_CALLS_PER_MINUTE": "00"}),
}


@pytest.mark.parametrize(("arguments", "variables"), SPEAKS.values(), ids=list(SPEAKS))
def test_the_front_speaks_where_the_command_line_starts_in_the_same_way(arguments, variables):
    assert assert_of_one_mind(arguments, variables)


ASIDE: dict[str, tuple[list[str], Environment]] = {
    "no key": ([], {}),
    "an empty key": ([], {"SCALE_API_KEY": ""}),
    "the placeholder": ([], {"SCALE_API_KEY": PLACEHOLDER}),
    "a variable not filled in": ([], {"SCALE_API_KEY": "${SCALE_API_KEY}"}),
    "a key with a colon": ([], {"SCALE_API_KEY": "live_abc:"}),
    "a key with a space": ([], {"SCALE_API_KEY": "live_abc def"}),
    "a key with a newline": ([], {"SCALE_API_KEY": KEY + "\n"}),
    "a key in quotes": ([], {"SCALE_API_KEY": f'"{KEY}"'}),
    "a key beyond ASCII": ([], {"SCALE_API_KEY": "live_ä"}),
    "an odd key beside the sandbox": (["--sandbox"], {"SCALE_API_KEY": "live a"}),
    "a key in small letters": ([], {"scale_api_key": KEY}),
    "an address without encryption": ([], {"SCALE_API_KEY": KEY, "SCALE_API_URL": "http://api.scale.com/v1"}),
    "an address with a password": ([], {"SCALE_API_KEY": KEY, "SCALE_API_URL": "https://a:b@api.scale.com/v1"}),
    "an address with a query": ([], {"SCALE_API_KEY": KEY, "SCALE_API_URL": "https://api.scale.com/v1?x=1"}),
    "an address with a port too many": ([], {"SCALE_API_KEY": KEY, "SCALE_API_URL": "https://api.scale.com:65536/v1"}),
    "no URL": ([], {"SCALE_API_KEY": KEY, "SCALE_API_URL": "api.scale.com"}),
    "help": (["--help"], {}),
    "a short flag": (["-h"], {}),
    "a word": (["--sandbox", "now"], {}),
    "dashes": (["--sandbox", "--"], {}),
    "an unknown flag": (["--sandbox", "--colour", "red"], {}),
    "an unknown switch": (["--sandbox", "--verbose"], {}),
    "an underscore": (["--sandbox", "--read_only"], {}),
    "a switch with a value": (["--sandbox=true"], {}),
    "a switch denied": (["--sandbox", "--no-read-only"], {}),
    "an abbreviation": (["--sandbox", "--read"], {}),
    "a flag without value": (["--sandbox", "--toolsets"], {}),
    "an empty value": (["--sandbox", "--toolsets", ""], {}),
    "an empty entry": (["--sandbox", "--toolsets", "team,"], {}),
    "a key as a flag": (["--api-key", KEY], {}),
    "an unknown toolset": (["--sandbox", "--toolsets", "taks"], {}),
    "an unknown tool": (["--sandbox"], {"SCALE_MCP_TOOLS": "get_tasks"}),
    "capitals in a flag": (["--sandbox", "--log-level", "DEBUG"], {}),
    "capitals in a variable": (["--sandbox"], {"SCALE_MCP_LOG_LEVEL": "Debug"}),
    "a misspelt choice": (["--sandbox", "--confirm", "allways"], {}),
    "a choice twice": (["--sandbox", "--confirm", "auto", "--confirm", "never"], {}),
    "another transport": (["--sandbox", "--transport", "http"], {}),
    "another transport by variable": (["--sandbox"], {"SCALE_MCP_TRANSPORT": "http"}),
    "pages": (["--sandbox", "--list-page-size", "10"], {}),
    "pages by variable": (["--sandbox"], {"SCALE_MCP_LIST_PAGE_SIZE": "10"}),
    "a file for the sandbox": (["--sandbox", "--sandbox-db", "/nowhere/box.db"], {}),
    "a port for the sandbox": (["--sandbox", "--sandbox-port", "0"], {}),
    "conformance": (["--sandbox"], {"SCALE_MCP_CONFORMANCE": "true"}),
    "a misspelt variable": (["--sandbox"], {"SCALE_MCP_READONLY": "true"}),
    "a variable in small letters": (["--sandbox"], {"scale_mcp_read_only": "true"}),
    "an empty variable": (["--sandbox"], {"SCALE_MCP_TOOLSETS": ""}),
    "a blank variable": (["--sandbox"], {"SCALE_MCP_READ_ONLY": " "}),
    "another word for true": (["--sandbox"], {"SCALE_MCP_READ_ONLY": "yes"}),
    "a missing folder": (["--sandbox", "--upload-root", "/nowhere/at/all"], {}),
    "a file for a folder": (["--sandbox", "--upload-root", __file__], {}),
    "the home folder": (["--sandbox", "--upload-root", "~"], {}),
    "a number too small": (["--sandbox", "--max-in-flight", "0"], {}),
    "a number too large": (["--sandbox"], {"SCALE_MCP_MAX_IN_FLIGHT": "257"}),
    "a number with a sign": (["--sandbox", "--max-in-flight", "+5"], {}),
    "a number with a point": (["--sandbox", "--call-timeout", "1.5"], {}),
    "no number": (["--sandbox", "--max-in-flight", "many"], {}),
    "a number in other digits": (["--sandbox", "--max-in-flight", "٣"], {}),
}


@pytest.mark.parametrize(("arguments", "variables"), ASIDE.values(), ids=list(ASIDE))
def test_the_front_steps_aside_where_it_is_not_sure(arguments, variables):
    assert not assert_of_one_mind(arguments, variables)


def test_the_front_steps_aside_where_pipes_cannot_be_waited_for(monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")

    assert understood(["--sandbox"]) is None


WORDS = st.one_of(
    st.sampled_from(["team", "tasks,files", "get_task", "all", "list_teammates", "", " team ", ",", "true", "1", "0"]),
    st.sampled_from(
        ["16", "007", "3600", "3601", "-1", "1e3", "1_000", " 5", "5 ", "²", HERE, __file__, "~", ".", "/"]
    ),
    st.sampled_from([word for words in CHOICES.values() for word in words]).flatmap(
        lambda word: st.sampled_from([word, word.upper(), f" {word}"])
    ),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6),
    st.just("\udcff"),
)
KNOWN = sorted({*SWITCHES, *NAMES, *FOLDERS, *NUMBERS, *CHOICES})
FIELDS = st.sampled_from([*KNOWN * 3, *Settings.model_fields])


def mostly(likely: st.SearchStrategy[str], rarely: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.integers(0, 9).flatmap(lambda number: likely if number else rarely)


def fitting(field: str) -> st.SearchStrategy[str]:
    """Mostly values that the field may have."""
    names = list(cards()) if field != "toolsets" else ["team", "tasks", "studio"]
    likely: Any = CHOICES.get(field)
    if field in SWITCHES:
        likely = ["true", "false", "1", "0"]
    elif field in NAMES:
        likely = [names[0], ",".join(names[:2]), f" {names[-1]} "]
    elif field in NUMBERS:
        likely = [str(edge + step) for edge in NUMBERS[field] for step in (0, 0, 0, 1, -1)]
    elif field in FOLDERS:
        likely = [HERE, "", "."]
    return mostly(st.sampled_from(likely), WORDS) if likely else WORDS


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    arguments: list[str] = []
    for field in draw(st.lists(FIELDS, max_size=4)):
        name = draw(mostly(st.just("--" + field.replace("_", "-")), st.sampled_from([f"--{field}", f"--{field[:4]}"])))
        if field in SWITCHES:
            arguments.append(draw(mostly(st.just(name), st.just(f"{name}=true"))))
        else:
            value = draw(fitting(field))
            arguments += draw(st.sampled_from([[name, value], [f"{name}={value}"]]))
    return arguments


ADDRESSES = mostly(
    st.one_of(
        st.from_regex(r"https?://[a-z0-9.-]{1,9}(:[0-9]{0,6})?(/[a-zA-Z0-9._%-]{0,4}){0,3}", fullmatch=True),
        st.from_regex(r"https?://(127\.0\.0\.1|localhost)(:[0-9]{1,6})?(/v1/?)?", fullmatch=True),
        st.from_regex(r"https://[a-z0-9.-]{1,9}/(v[0-9]/?)?", fullmatch=True),
    ),
    WORDS,
)
KEYS = mostly(st.just(KEY), st.one_of(st.from_regex(r"(live|test)_[!-~]{0,5}\n?", fullmatch=True), WORDS))


@st.composite
def environments(draw: st.DrawFn) -> Environment:
    made = {}
    for field in draw(st.lists(FIELDS, max_size=3)):
        name = f"SCALE_MCP_{field.upper()}"
        made[draw(mostly(st.just(name), st.just(name.lower())))] = draw(fitting(field))
    if draw(st.booleans()):
        made["SCALE_API_KEY"] = draw(KEYS)
    if draw(st.integers(0, 9)) == 0:
        made["SCALE_API_URL"] = draw(ADDRESSES)
    return made


@settings(max_examples=400, deadline=None)
@given(arguments=command_lines(), variables=environments(), sandbox=mostly(st.just("--sandbox"), st.just("")))
def test_whatever_the_front_understands_the_command_line_takes_to_mean_the_same(arguments, variables, sandbox):
    assert_of_one_mind([sandbox, *arguments] if sandbox else arguments, variables)


@settings(max_examples=300, deadline=None)
@given(key=KEYS, url=ADDRESSES)
def test_a_key_or_address_that_the_front_takes_is_one_that_the_settings_take(key, url):
    assert_of_one_mind([], {"SCALE_API_KEY": key, "SCALE_API_URL": url})
