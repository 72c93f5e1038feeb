"""Call overhead: get_task through stdio, /mcp and /sse, one at a time and many at once, beside the direct request.

    python bench/calls.py [--quick] [--json] [--upstream bare|sandbox] [--modern]

Each call makes one request to the API. That is the bare server by default, which answers with a task as the sandbox
gives it: so it is the servers that are measured, and what they add to the request. ``--upstream sandbox`` puts the
sandbox there. The clients are written by hand, without an SDK. "Direct" are the same requests without MCP: by a bare
httpx2 loop, by our api layer, and by the official client in threads. fastmcp comes twice: with typed functions that
send the request themselves, and generated from the sandbox's own OpenAPI document. ``--modern`` measures the protocol
of 2026-07-28 instead of the one with a handshake.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from _clients import LEGACY, MODERN, Door, Sse, Stdio, StreamableHttp, failed, load
from _common import Report, Table, count, median, options, percentile, ratio, report, say, times, turns
from _common import ms as in_ms
from _contestants import Server, servers
from _environments import SCALEAPI, Unavailable, ours, python_of, versions_of
from _servers import ask, bare_api, environment, free_port, peer, process, sandbox, wait_for

WIDTHS = (1, 8, 16, 64)
HTTP_DOORS: dict[str, type[StreamableHttp] | type[Sse]] = {"mcp": StreamableHttp, "sse": Sse}
REFUSED = -16  # the key of calls that are refused, sixteen at once
Totals = dict[int, int]


@dataclass(frozen=True)
class Run:
    """Calls at one width: seconds of the whole and of each, and of the server's processor time."""

    seconds: float
    latencies: list[float]
    processor: float


Runs = dict[tuple[str, str, int], list[Run]]


@contextmanager
def upstream(kind: str) -> Iterator[tuple[str, str, Any, Any]]:
    """The API behind the servers: its address, a task's id, the task, and the OpenAPI document."""
    with sandbox(ours()) as box:
        for body in (
            {"key": "live_bench", "team": ["ann@example.com"]},
            {"key": "live_bench", "tasks": 100, "bulk": True},
        ):
            ask(f"{box}/_sandbox/seed", body)
        task = ask(f"{box}/v1/tasks?limit=1")["docs"][0]
        document = ask(f"{box}/openapi.json")
        if kind == "sandbox":
            yield box, task["task_id"], task, document
            return
    with bare_api(_fast_python()) as address:
        ask(f"{address}/_bench", {"task": json.dumps(task, separators=(",", ":"))})
        yield address, task["task_id"], task, document


def _fast_python() -> str:
    try:
        return python_of("server", "uvloop")
    except Unavailable:
        return ours()


async def calls(door: Door, server: Server, arguments: dict[str, Any], total: int, width: int, pid: int) -> Run:
    """Calls with these arguments; without any, each is refused before a request is made."""

    async def call() -> None:
        answer = await door.call(server.get_task, arguments)
        if arguments and failed(answer):
            raise RuntimeError(f"{server.label}: {json.dumps(answer)[:300]}")

    await load(call, max(20, 2 * width), width)
    before = processor_seconds(pid)
    seconds, latencies = await load(call, total, width)
    return Run(seconds, latencies, processor_seconds(pid) - before)


async def through(server: Server, kind: str, task_id: str, total: Totals, era: str) -> dict[int, Run]:
    """One process of a server, measured at every width through one of its doors, and at last with refused calls."""

    async def every(door: Door, pid: int) -> dict[int, Run]:
        arguments = {"task_id": task_id}
        try:
            runs = {width: await calls(door, server, arguments, total[width], width, pid) for width in total}
            return runs | {REFUSED: await calls(door, server, {}, total[16], 16, pid)}
        finally:
            await door.close()

    if kind == "stdio":
        stdio = await Stdio.open(server.command("stdio", 0), server.env, era)
        return await every(stdio, stdio.process.pid)
    port = free_port()
    with process(server.command(kind, port), **server.env) as running:
        await asyncio.to_thread(wait_for, port, running)
        return await every(await HTTP_DOORS[kind].open(f"http://127.0.0.1:{port}", era), running.pid)


def direct(python: str, client: str, address: str, task_id: str, total: Totals) -> dict[int, Run]:
    found = {}
    for width, number in total.items():
        command = [python, peer("http_load.py"), client, f"get:{task_id}", address, str(number), str(width)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
        run = json.loads(done.stdout)
        if run["failures"]:
            raise RuntimeError(f"{client}: {run['failures']}")
        found[width] = Run(run["seconds"], run["latencies"], run["processor"])
    return found


def processor_seconds(pid: int) -> float:
    """What a process has used of the processor, where Linux tells; not a number elsewhere."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def get_task_operation(document: dict[str, Any]) -> str:
    """What fastmcp calls the tool that it makes of ``GET /task/{task_id}``."""
    return str(document["paths"]["/task/{task_id}"]["get"]["operationId"])


def measure(quick: bool, kind: str, era: str) -> Report:
    rounds, base = (1, 300) if quick else (3, 1000)
    total = {width: base if width > 1 else base // 2 for width in WIDTHS}
    if quick:
        del total[8]
    made = report(
        "calls",
        f"get_task, {base} calls per round and width ({base // 2} one at a time), {rounds} interleaved rounds, "
        f"protocol {era}, behind it {'the sandbox' if kind == 'sandbox' else 'a bare API'}",
        quick=quick,
    )
    runs: Runs = defaultdict(list)
    with upstream(kind) as (address, task_id, task, document):
        fixed = {"content": [{"type": "text", "text": json.dumps(task)}]}
        with servers(address, made, document, fixed) as found:
            contestants = [
                replace(server, get_task=get_task_operation(document)) if "OpenAPI" in server.label else server
                for server in found
            ]
            plain = directs(made)
            doors = [
                (server, door) for server in contestants for door in server.doors if era == LEGACY or door != "sse"
            ]
            for turn in turns([*doors, *plain], rounds):
                if isinstance(turn[0], Server):
                    server, door = turn
                    label = server.label
                    say(f"{label}, {door} …")
                    try:
                        taken = asyncio.run(through(server, door, task_id, total, era))
                    except (RuntimeError, OSError) as error:
                        made.note(f"{label}, {door}, did not get through: {error}")
                        continue
                else:
                    label, (python, client), door = turn[0], turn[1], "direct"
                    say(f"{label} …")
                    taken = direct(python, client, address, task_id, total)
                for width, run in taken.items():
                    runs[door, label, width].append(run)
    show(made, runs, total)
    return made


def directs(made: Report) -> list[tuple[str, tuple[str, str]]]:
    found = [("httpx2", (ours(), "httpx2")), ("our api layer", (ours(), "ours"))]
    try:
        scaleapi = python_of("scaleapi", *SCALEAPI)
    except Unavailable as reason:
        made.note(f"scaleapi was not measured: {reason}.")
    else:
        made.machine["scaleapi"] = versions_of(scaleapi, "scaleapi").split()[1]
        found.append(("scaleapi in threads", (scaleapi, "scaleapi")))
    return found


def show(made: Report, runs: Runs, total: dict[int, int]) -> None:
    def rate(door: str, label: str, width: int) -> float:
        return median([len(run.latencies) / run.seconds for run in runs.get((door, label, width), [])])

    def latency(door: str, label: str, width: int, share: float) -> float:
        return median([percentile(run.latencies, share) for run in runs.get((door, label, width), [])])

    def processor(door: str, label: str, width: int) -> float:
        return median([run.processor / len(run.latencies) for run in runs.get((door, label, width), [])])

    titles = {"stdio": "stdio", "mcp": "/mcp", "sse": "/sse", "direct": "Direct, without MCP"}
    for door, title in titles.items():
        labels = list(dict.fromkeys(label for kind, label, _ in runs if kind == door))
        head = ["client" if door == "direct" else "server"]
        for width in total:
            head += [f"{width}: p50 ms", "p99 ms", "calls/s"]
        head += ["CPU ms per call"] if door == "direct" else ["CPU ms per call", "refused: calls/s", "refused: CPU ms"]
        if not labels:
            continue
        rows: Table = made.table(f"{title}, so many at once", *head)
        for label in labels:
            cells = [label]
            for width in total:
                cells += [
                    in_ms(latency(door, label, width, 0.5)),
                    in_ms(latency(door, label, width, 0.99)),
                    count(rate(door, label, width)),
                ]
            cells.append(in_ms(processor(door, label, 16)))
            if door != "direct":
                cells += [count(rate(door, label, REFUSED)), in_ms(processor(door, label, REFUSED))]
            rows.add(*cells)
    for own in OURS:
        if not any(label == own for _, label, _ in runs):
            continue
        beside = made.table(f"{own.capitalize()} beside the others, calls per second", "door, at once", *PEERS)
        for door in ("stdio", "mcp", "sse"):
            for width in total:
                mine = rate(door, own, width)
                beside.add(
                    f"{titles[door]}, {width}", *(times(ratio(mine, rate(door, label, width))) for label in PEERS)
                )
        extra = own.removeprefix("ours")
        for label in ("fastmcp", "fastmcp from OpenAPI"):
            for width in (1, 16):
                made.at_least(
                    f"stdio calls{extra}, {width} at once, beside {label}",
                    3,
                    ratio(rate("stdio", own, width), rate("stdio", label, width)),
                )
            made.at_least(
                f"/mcp calls{extra}, 16 at once, beside {label}", 2, ratio(rate("mcp", own, 16), rate("mcp", label, 16))
            )
        made.at_most(f"/mcp calls{extra}, 16 at once, p99", 15, latency("mcp", own, 16, 0.99) * 1000, " ms")
    made.values = {
        f"{door}, {label}, {width}": {
            "calls/s": rate(door, label, width),
            "p50": latency(door, label, width, 0.5),
            "p99": latency(door, label, width, 0.99),
            "processor": processor(door, label, width),
        }
        for door, label, width in runs
    }
    made.note(
        "CPU is the server's own, per call at sixteen at once: the figure that other load on the machine blurs least."
    )
    made.note("Refused: sixteen calls at once without arguments, which typed tools refuse before any request.")
    made.note("The floor answers with fixed bytes and sends no request; it is what the client itself can do.")


OURS = ("ours with fast", "ours")
PEERS = ("SDK's MCPServer", "fastmcp", "fastmcp from OpenAPI")


def more_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--upstream", choices=["bare", "sandbox"], default="bare", help="the API behind the servers")
    parser.add_argument("--modern", action="store_true", help="the protocol of 2026-07-28")


if __name__ == "__main__":
    chosen = options(__doc__ or "", more_options)
    measure(chosen.quick, chosen.upstream, MODERN if chosen.modern else LEGACY).show(as_json=chosen.json)
