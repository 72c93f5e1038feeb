"""What the tools cost an agent's context, and whether discovery mode finds them.

    python bench/context.py [--quick] [--json]

Tokens are counted with the o200k_base encoding (npm's gpt-tokenizer, whose tables come with the package; without Node
they are estimated from characters, and the report says so).

Definitions are counted as hosts usually give them to a model: name, description and input schema. Results are those of
a plain call of every tool, nothing optional set, against a sandbox with a realistic account: fourteen projects, 40
batches, most of them done by the simulated workforce, 24 people, 40 files. A result is text and, for programs,
structured content; hosts give the model one of the two or both.

Retrieval: the requests of bench/requests.tsv, 120 needs in plain words, written without a look at the descriptions;
each is asked of find_tools, and counts as found when its tool is among the first three.
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
    requests = [line.split("\t") for line in (ROOT / "bench" / "requests.tsv").read_text().splitlines() if line.strip()]
    spawned = server("https://api.scale.com/v1", "--discovery")
    places: Counter[int] = Counter()
    missed: list[tuple[str, str, list[str]]] = []
    try:
        for text, tool in requests:
            call = {"name": "find_tools", "arguments": {"query": text}}
            answer = spawned.ask("tools/call", call)["result"]["content"][0]["text"]
            found = [line.split(" ")[0] for line in answer.splitlines()]
            place = found.index(tool) if tool in found else 99
            places[place] += 1
            if place > 2:
                missed.append((text, tool, found[:3]))
    finally:
        spawned.close()
    total = len(requests)
    rows = made.table("Discovery mode: where find_tools puts the right tool", "place", "requests", "share so far")
    for place, name in enumerate(("first", "second", "third")):
        so_far = sum(places[earlier] for earlier in range(place + 1))
        rows.add(name, places[place], f"{so_far / total:.1%}")
    rows.add("further down, or not", len(missed), "100.0%")
    if missed:
        rows = made.table("Not among the first three", "request", "its tool", "found instead")
        for text, tool, found in missed:
            rows.add(text, tool, ", ".join(found))
    share = 100 * sum(places[place] for place in range(3)) / total
    made.at_least(f"discovery finds the tool in three ({total} requests)", 95, share, " %")


if __name__ == "__main__":
    chosen = options(__doc__ or "")
    measure(chosen.quick).show(as_json=chosen.json)
