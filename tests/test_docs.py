"""The documents say what is true: marked snippets run, generated parts are in step, named tests and files exist."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

import generate
from scale_mcp.api import ApiOptions, ScaleApi, ScaleError
from scale_mcp.cli.app import COMMANDS
from scale_mcp.sandbox import decisions, faults
from scale_mcp.settings import Settings, flag
from scale_mcp.tools.arguments import check
from scale_mcp.tools.card import Call
from scale_mcp.tools.registry import cards
from tests.tool_arguments import ARGUMENTS
from tool_requests import REQUESTS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
EXAMPLE_ADDRESS = "http://127.0.0.1:8787"


class Snippet(NamedTuple):
    """A fenced block that stands right below ``<!-- run -->``."""

    document: str
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def snippets() -> Iterator[Snippet]:
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for match in re.finditer(r"<!-- run -->\n```(\w+)\n(.*?)```", text, re.S):
            yield Snippet(document.name, text.count("\n", 0, match.start()) + 1, match[1], match[2])


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which ``scale-mcp`` and ``python`` are this tree's."""
    programs = tmp_path_factory.mktemp("bin")
    for name, call in {"scale-mcp": "-m scale_mcp", "python": ""}.items():
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {call} "$@"\n')
        script.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCALE_")}
    return {**kept, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(programs)}


@pytest.fixture(scope="module")
def sandbox(commands: dict[str, str]) -> Iterator[str]:
    """The address of a sandbox whose clock stands still."""
    process = subprocess.Popen(
        ["scale-mcp", "sandbox", "--port", "0", "--clock", "manual"],
        env=commands,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        address = re.search(r"http://[\d.:]+", first)
        assert address, first + process.stderr.read()
        yield address[0]
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.mark.parametrize("snippet", list(snippets()), ids=str)
def test_the_snippet_runs_as_it_stands(snippet: Snippet, commands: dict[str, str], sandbox: str, tmp_path: Path):
    code = snippet.code.replace(EXAMPLE_ADDRESS, sandbox)
    runner = ["sh", "-euc", code] if snippet.language == "sh" else [sys.executable, "-W", "error", "-c", code]

    done = subprocess.run(
        runner,
        cwd=tmp_path,
        env=commands,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_there_are_snippets_that_run():
    languages = {snippet.language for snippet in snippets()}

    assert {"python", "sh"} <= languages


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_json_example_is_json(document: Path):
    for block in re.findall(r"```json\n(.*?)```", document.read_text(encoding="utf-8"), re.S):
        json.loads(block)


@pytest.mark.parametrize("target", list(generate.TARGETS))
def test_the_generated_part_is_in_step_with_the_code(target: str):
    text = (ROOT / target).read_text(encoding="utf-8")

    assert generate.TARGETS[target](text) == text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file_or_heading_that_exists(document: Path):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, heading = target.partition("#")
        linked = (document.parent / path) if path else document
        assert linked.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.M)
            assert heading in {re.sub(r"[^\w -]", "", text).strip().lower().replace(" ", "-") for text in headings}, (
                target
            )


def named_tests() -> list[tuple[str, str]]:
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "safety.md").read_text(encoding="utf-8"))


def test_every_promise_about_safety_names_a_test_that_exists():
    missing = []
    for path, name in named_tests():
        file = ROOT / path
        tree = ast.parse(file.read_text(encoding="utf-8")) if file.exists() else ast.Module([], [])
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        if name not in functions:
            missing.append(f"{path}::{name}")

    assert missing == []


def test_no_promise_about_safety_goes_without_a_test():
    text = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| promise"))]

    assert len(rows) > 15
    assert [row for row in rows if not re.search(r"`tests/[\w/]+\.py::\w+`", row)] == []


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_is_mentioned_in_the_readme(command: str):
    assert re.search(rf"\b{command}\b", (ROOT / "README.md").read_text(encoding="utf-8"))


def test_no_document_mentions_a_flag_that_does_not_exist():
    known = {flag(field) for field in Settings.model_fields} | options_of_the_commands()
    foreign = {"--transport", "--directory", "--durations", "--header", "--no-build-isolation", "--require-hashes"}
    foreign |= {"--quick", "--write", "--upstream", "--latency", "--tasks"}  # of bench/
    foreign |= {"--stay"}  # of scripts/
    for document in DOCUMENTS:
        for block in re.findall(r"`[^`\n]*`|```sh\n.*?```", document.read_text(encoding="utf-8"), re.S):
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", block)) <= known | foreign, document.name


def options_of_the_commands() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "scale_mcp" / "cli").glob("*.py"):
        source = path.read_text(encoding="utf-8")
        found |= set(re.findall(r'"(--[a-z][a-z-]+)"', source))
        for function in ast.walk(ast.parse(source)):
            if isinstance(function, ast.FunctionDef):
                found |= {"--" + argument.arg.replace("_", "-") for argument in function.args.kwonlyargs}
    return found


def test_every_fault_and_every_decision_of_the_sandbox_is_documented():
    text = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")
    named = {name for name, value in vars(decisions).items() if isinstance(value, decisions.Decision)}

    assert [kind for kind in faults.KINDS if f"`{kind}`" not in text] == []
    assert [name for name in named if f"`{name}`" not in text] == []


def test_every_tool_says_what_it_sends():
    assert set(REQUESTS) == set(cards()) == set(ARGUMENTS)


@pytest.mark.anyio
@pytest.mark.parametrize("name", list(REQUESTS))
async def test_the_documented_requests_are_the_ones_that_are_sent(name: str):
    sent: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(f"{request.method} {request.url.raw_path.decode().partition('?')[0].removeprefix('/v1')}")
        if sent[-1] == "GET /studio/batches":
            return httpx2.Response(200, json=[{"id": "1", "name": "night", "studioPriority": 0}])
        return httpx2.Response(404, json={"error": "Nothing is here."})

    arguments: dict[str, Any] = ARGUMENTS[name]
    card = cards()[name]
    transport = httpx2.MockTransport(answer)
    async with ScaleApi("test_documents", transport=transport, options=ApiOptions(attempts=1)) as api:
        with suppress(ScaleError):
            await card.run(Call(api=api), check(card, arguments))

    assert len(sent) >= len(REQUESTS[name])
    assert all(matches(template, actual) for template, actual in zip(REQUESTS[name], sent, strict=False)), sent


def matches(template: str, actual: str) -> bool:
    return bool(re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), actual))
