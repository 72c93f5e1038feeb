"""What the tools cost an agent's context, and whether discovery mode finds them.

    python bench/context.py [--quick] [--json]

Tokens are counted with the o200k_base encoding (npm's gpt-tokenizer, whose tables come with the package; without Node
they are estimated from characters, and the report says so).

Definitions are counted as hosts usually give them to a model: name, description and input schema. Results are those of
a plain call of every tool, nothing optional set, against a sandbox with a realistic account: fourteen projects, 40
batches, most of them done by the simulated workforce, 24 people, 40 files. A result is text and, for programs,
structured content; hosts give the model one of the two or both.

Retrieval: each request of bench/requests*.tsv is asked of find_tools, and counts as found when its tool, or one of its
tools, is among the first three. Each file was written by somebody else, in plain words and without a look at the
descriptions; SETS says which of them the search was made with.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter, defaultdict
from typing import Any

from _clients import Spawned
from _common import KEY, ROOT, Report, options, report, say
from _environments import TOKENIZER, Unavailable, node_modules, ours
from _project import calls, furnish
from _servers import definitions, environment, sandbox

LISTS = (
    *("list_tasks", "list_batches", "list_projects", "list_assets", "list_teammates"),
    *("get_studio_assignments", "get_studio_batches", "get_fixless_audits", "get_training_attempts"),
)
SIBLINGS = (
    *("create_project", "prioritize_batch", "create_evaluation_task", "set_task_tags", "cancel_task"),
    "set_teammate_role",
)
CHARACTERS_PER_TOKEN = 4.5
SETS = {
    "requests": "words were added for its misses",
    "requests_2": "not looked at before it was measured",
    "requests_3": "not looked at before it was measured",
    "requests_dev": "the search was made with it",
}
GITHUB = (
    "GitHub's server, all 117 tools, August 2026",
    117,
    25_103,
)  # counted the same way, from its repository's snapshots


class Tokens:
    """Counts tokens, all at once as Node takes a moment to start."""

    def __init__(self, made: Report) -> None:
        try:
            self._folder = node_modules("tokenizer", *TOKENIZER)
            made.machine["gpt-tokenizer"] = TOKENIZER[0].rpartition("@")[2]
        except Unavailable as reason:
            self._folder = None
            made.note(f"Tokens are estimates, {CHARACTERS_PER_TOKEN} characters each: {reason}.")

    def count(self, texts: list[str]) -> list[int]:
        if self._folder is None:
            return [round(len(text) / CHARACTERS_PER_TOKEN) for text in texts]
        command = ["node", str(ROOT / "bench" / "tokens.mjs")]
        done = subprocess.run(
            command, input=json.dumps(texts), cwd=self._folder, capture_output=True, text=True, check=True
        )
        counted: list[int] = json.loads(done.stdout)
        return counted


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def lean(tools: list[dict[str, Any]]) -> str:
    return compact([{name: tool[name] for name in ("name", "description", "inputSchema")} for tool in tools])


def server(api: str, *flags: str) -> Spawned:
    """Our server over stdio, past its handshake."""
    env = environment(SCALE_API_URL=api, SCALE_API_KEY=KEY)
    spawned = Spawned([ours(), "-m", "scale_mcp", "serve", *flags], env)
    spawned.handshake()
    return spawned


def measure(quick: bool) -> Report:
    made = report("context", "tokens in an agent's context, and finding a tool", quick=quick)
    tokens = Tokens(made)
    measure_definitions(made, tokens)
    measure_results(made, tokens)
    measure_retrieval(made)
    return made


def measure_definitions(made: Report, tokens: Tokens) -> None:
    say("Definitions …")
    every = definitions(ours())
    forty = [tool for tool in every if tool["name"] not in SIBLINGS]
    groups = {"all tools": every, "the forty": forty}
    toolsets: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for tool in every:
        toolsets[tool["_meta"]["scale-mcp/toolset"]].append(tool)
    groups |= {f"toolset {name}": tools for name, tools in toolsets.items()}
    groups["read-only"] = definitions(ours(), "--read-only")
    groups["discovery mode"] = discovery_tools()
    counts = tokens.count([text for tools in groups.values() for text in (lean(tools), compact(tools))])
    rows = made.table("Definitions", "selection", "tools", "tokens", "a tool", "with output schemas and all")
    cost = dict(zip(groups, zip(counts[::2], counts[1::2], strict=True), strict=True))
    for name, tools in groups.items():
        shown, whole = cost[name]
        rows.add(name, len(tools), f"{shown:,}", f"{shown / len(tools):.0f}", f"{whole:,}")
    label, number, shown = GITHUB
    rows.add(label, number, f"{shown:,}", f"{shown / number:.0f}", "–")
    made.at_most("the forty's definitions", 7000, cost["the forty"][0], " tokens")
    made.at_most("discovery mode's definitions", 900, cost["discovery mode"][0], " tokens")
    made.values["definitions"] = {name: shown for name, (shown, _) in cost.items()}


def discovery_tools() -> list[dict[str, Any]]:
    spawned = server("https://api.scale.com/v1", "--discovery")
    try:
        tools: list[dict[str, Any]] = spawned.ask("tools/list")["result"]["tools"]
    finally:
        spawned.close()
    return tools


def measure_results(made: Report, tokens: Tokens) -> None:
    say("Filling a sandbox …")
    answers: dict[str, dict[str, Any]] = {}
    with sandbox(ours(), "--clock", "manual", "--seed", "1") as box:
        wanted = calls(furnish(box))
        say("Calling every tool …")
        spawned = server(f"{box}/v1", "--confirm", "never")
        try:
            for name, arguments in wanted.items():
                answers[name] = spawned.ask("tools/call", {"name": name, "arguments": arguments}).get("result", {})
        finally:
            spawned.close()
    texts = []
    for answer in answers.values():
        texts.append("\n".join(part.get("text", "") for part in answer.get("content", ())))
        texts.append(compact(answer["structuredContent"]) if "structuredContent" in answer else "")
    counts = tokens.count(texts)
    rows = made.table("Default results", "tool", "text, tokens", "structured, tokens", "ended in")
    largest: dict[str, int] = {}
    for (name, answer), text, structured in zip(answers.items(), counts[::2], counts[1::2], strict=True):
        rows.add(name, f"{text:,}", f"{structured:,}", "an error" if answer.get("isError", not answer) else "a result")
        largest[name] = max(text, structured)
        if answer.get("isError"):
            made.note(f"{name}: {answer['content'][0]['text'][:200]}")
    missing = {tool["name"] for tool in definitions(ours())} - set(answers)
    if missing:
        made.note(f"Not called: {', '.join(sorted(missing))}.")
    worst = max(LISTS, key=lambda name: largest[name])
    made.at_most(f"default result of every list tool (the largest: {worst})", 2000, largest[worst], " tokens")
    made.values["results"] = dict(zip(answers, zip(counts[::2], counts[1::2], strict=True), strict=True))


def measure_retrieval(made: Report) -> None:
    say("Finding tools …")
    found = made.table(
        "Discovery mode: where find_tools puts the right tool",
        *("requests of", "how many", "first", "among two", "among three", "the search and they"),
    )
    missed: list[tuple[str, str, str, str]] = []
    spawned = server("https://api.scale.com/v1", "--discovery")
    try:
        for name, seen in SETS.items():
            requests = requests_of(name)
            places: Counter[int] = Counter()
            for text, tools in requests:
                first_three = ask_for_tools(spawned, text)[:3]
                place = next((place for place, tool in enumerate(first_three) if tool in tools), 99)
                places[place] += 1
                if place == 99:
                    missed.append((f"{name}.tsv", text, " or ".join(tools), ", ".join(first_three)))
            total = len(requests)
            so_far = [sum(places[earlier] for earlier in range(place + 1)) / total for place in range(3)]
            found.add(f"{name}.tsv", total, *(f"{share:.1%}" for share in so_far), seen)
            if name != "requests_dev":
                label = f"discovery finds the tool in three ({name}.tsv, {total} requests)"
                made.at_least(label, 95, 100 * so_far[-1], " %")
    finally:
        spawned.close()
    if missed:
        rows = made.table("Not among the first three", "requests of", "request", "its tool", "found instead")
        for miss in missed:
            rows.add(*miss)


def requests_of(name: str) -> list[tuple[str, list[str]]]:
    """The requests of a set, each with the tools that are right for it."""
    lines = (ROOT / "bench" / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    parted = [line.split("\t") for line in lines if line.strip()]
    return [(text, tools.split("|")) for text, tools in parted]


def ask_for_tools(spawned: Spawned, text: str) -> list[str]:
    """The names that find_tools answers with, best first."""
    answer = spawned.ask("tools/call", {"name": "find_tools", "arguments": {"query": text}})
    return [line.split(" ")[0] for line in answer["result"]["content"][0]["text"].splitlines()]


if __name__ == "__main__":
    chosen = options(__doc__ or "")
    measure(chosen.quick).show(as_json=chosen.json)
