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
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from _clients import LEGACY, MODERN, Door, Sse, Stdio, StreamableHttp, failed, load
from _common import Report, Table, count, median, options, percentile, ratio, report, say, times, turns
from _common import ms as in_ms
from _contestants import Server, servers
from _environments import SCALEAPI, Unavailable, ours, python_of, versions_of
from _servers import ask, bare_api, environment, free_port, peer, process, sandbox, wait_for

WIDTHS = (1, 8, 16, 64)
HTTP_DOORS: dict[str, type[StreamableHttp] | type[Sse]] = {"mcp": StreamableHttp, "sse": Sse}
Runs = dict[tuple[str, str, int], list[tuple[float, list[float]]]]


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


async def measured(door: Door, server: Server, task_id: str, total: int, width: int) -> tuple[float, list[float]]:
    async def call() -> None:
        answer = await door.call(server.get_task, {"task_id": task_id})
        if failed(answer):
            raise RuntimeError(f"{server.label}: {json.dumps(answer)[:300]}")

    await load(call, max(20, 2 * width), width)
    return await load(call, total, width)


async def through(
    server: Server, kind: str, task_id: str, total: dict[int, int], era: str
) -> dict[int, tuple[float, list[float]]]:
    """One process of a server, measured at every width through one of its doors."""
    if kind == "stdio":
        door: Door = await Stdio.open(server.command("stdio", 0), server.env, era)
        try:
            return {width: await measured(door, server, task_id, total[width], width) for width in total}
        finally:
            await door.close()
    port = free_port()
    with process(server.command(kind, port), **server.env) as running:
        await asyncio.to_thread(wait_for, port, running)
        door = await HTTP_DOORS[kind].open(f"http://127.0.0.1:{port}", era)
        try:
            return {width: await measured(door, server, task_id, total[width], width) for width in total}
        finally:
            await door.close()


def direct(
    python: str, client: str, address: str, task_id: str, total: dict[int, int]
) -> dict[int, tuple[float, list[float]]]:
    found = {}
    for width, number in total.items():
        command = [python, peer("http_load.py"), client, f"get:{task_id}", address, str(number), str(width)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
        run = json.loads(done.stdout)
        found[width] = (run["seconds"], run["latencies"])
    return found


def get_task_operation(document: dict[str, Any]) -> str:
    """What fastmcp calls the tool that it makes of ``GET /task/{task_id}``."""
    return str(document["paths"]["/task/{task_id}"]["get"]["operationId"])


def measure(quick: bool, kind: str, era: str) -> Report:
    rounds, base = (1, 300) if quick else (5, 2000)
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
                    say(f"{server.label}, {door} …")
                    taken = asyncio.run(through(server, door, task_id, total, era))
                    label = server.label
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
        return median([len(latencies) / seconds for seconds, latencies in runs.get((door, label, width), [])])

    def latency(door: str, label: str, width: int, share: float) -> float:
        return median([percentile(latencies, share) for _, latencies in runs.get((door, label, width), [])])

    titles = {"stdio": "stdio", "mcp": "/mcp", "sse": "/sse", "direct": "Direct, without MCP"}
    for door, title in titles.items():
        labels = list(dict.fromkeys(label for kind, label, _ in runs if kind == door))
        head = ["client" if door == "direct" else "server"]
        for width in total:
            head += [f"{width}: p50 ms", "p99 ms", "calls/s"]
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
            rows.add(*cells)
    beside = made.table("Ours beside the others, calls per second", "door, at once", *PEERS)
    for door in ("stdio", "mcp", "sse"):
        for width in total:
            mine = rate(door, "ours", width)
            beside.add(f"{titles[door]}, {width}", *(times(ratio(mine, rate(door, label, width))) for label in PEERS))
    for label in ("fastmcp from OpenAPI", "fastmcp"):
        for width in (1, 16):
            made.at_least(
                f"stdio calls, {width} at once, beside {label}",
                3,
                ratio(rate("stdio", "ours", width), rate("stdio", label, width)),
            )
        made.at_least(
            f"/mcp calls, 16 at once, beside {label}", 2, ratio(rate("mcp", "ours", 16), rate("mcp", label, 16))
        )
    made.at_most("/mcp calls, 16 at once, p99", 15, latency("mcp", "ours", 16, 0.99) * 1000, " ms")
    made.values = {
        f"{door}, {label}, {width}": {
            "calls/s": rate(door, label, width),
            "p50": latency(door, label, width, 0.5),
            "p99": latency(door, label, width, 0.99),
        }
        for door, label, width in runs
    }
    made.note("The floor answers with fixed bytes and sends no request; it is what the client itself can do.")


PEERS = ("SDK's MCPServer", "fastmcp", "fastmcp from OpenAPI")


def more_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--upstream", choices=["bare", "sandbox"], default="bare", help="the API behind the servers")
    parser.add_argument("--modern", action="store_true", help="the protocol of 2026-07-28")


if __name__ == "__main__":
    chosen = options(__doc__ or "", more_options)
    measure(chosen.quick, chosen.upstream, MODERN if chosen.modern else LEGACY).show(as_json=chosen.json)
