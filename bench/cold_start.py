"""Cold start: from spawning a stdio server to its answered tools/list, and to its first answered tools/call.

    python bench/cold_start.py [--quick] [--json]

What a host does when it opens: spawn, initialize, list the tools. Each round spawns every contestant once and asks
without a pause: initialize, tools/list, then get_task, for which all but the floor send a request to the same bare API.
In the protocol era of 2026-07-28 there is no initialize: the list is the first request. All Pythons are the same
interpreter with warm caches; each contestant has the environment that its users would have.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict

from _clients import LEGACY, MODERN, Spawned, failed
from _common import Report, median, options, ratio, report, say, times, turns
from _common import ms as in_ms
from _contestants import Server, servers
from _environments import ours
from _servers import ask, bare_api

TASK = "65f0c1d2e3a4b5c6d7e8f901"
PAUSE = 1.5  # seconds in which a model thinks about the list


def start(server: Server, era: str, pause: float = 0) -> dict[str, float]:
    """Seconds from the spawn to the answers, of the call after a pause, and MiB of memory after the list."""
    spawned = Spawned(server.command("stdio", 0), server.env)
    try:
        if era == LEGACY:
            spawned.handshake()
        listed = spawned.ask("tools/list", era=era)
        list_at = spawned.since_spawn()
        memory = spawned.resident()
        time.sleep(pause)
        before = spawned.since_spawn()
        called = spawned.ask("tools/call", {"name": server.get_task, "arguments": {"task_id": TASK}}, era)
        call_at = spawned.since_spawn()
    finally:
        spawned.close()
    if failed(called):
        raise RuntimeError(f"{server.label}: {json.dumps(called)[:300]}")
    if len(listed["result"]["tools"]) < 40:
        raise RuntimeError(f"{server.label} lists {len(listed['result']['tools'])} tools")
    return {"list": list_at, "call": call_at, "call alone": call_at - before, "memory": memory}


def starts(server: Server, made: Report) -> bool:
    """A first start, which compiles what has no bytecode yet; whoever cannot do it is left out."""
    try:
        start(server, LEGACY)
    except (RuntimeError, OSError) as error:
        made.note(f"{server.label} did not get through: {error}")
        return False
    return True


def measure(quick: bool) -> Report:
    rounds, pauses = (5, 1) if quick else (21, 5)
    made = report("cold start", f"stdio, 46 tools, medians of {rounds} interleaved rounds", quick=quick)
    with bare_api(ours()) as address:
        ask(
            f"{address}/_bench", {"task": json.dumps({"task_id": TASK, "type": "imageannotation", "status": "pending"})}
        )
        with servers(address, made) as found:
            contestants = [server for server in found if starts(server, made)]
            taken: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
            later: dict[str, list[float]] = defaultdict(list)
            runs = [(server, era) for server in contestants for era in (LEGACY, MODERN)]
            for number, (server, era) in enumerate(turns(runs, rounds)):
                if number % len(runs) == 0:
                    say(f"round {number // len(runs) + 1} of {rounds} …")
                taken[server.label, era].append(start(server, era))
            for server in turns(contestants, pauses):
                later[server.label].append(start(server, LEGACY, PAUSE)["call alone"])
    show(made, [server.label for server in contestants], taken, later)
    return made


def show(
    made: Report,
    labels: list[str],
    taken: dict[tuple[str, str], list[dict[str, float]]],
    later: dict[str, list[float]],
) -> None:
    def at(label: str, what: str, era: str = LEGACY) -> float:
        return median([run[what] for run in taken.get((label, era), [])])

    rows = made.table(
        "Milliseconds from the spawn",
        "server",
        "list answered",
        "beside the floor",
        "list, 2026-07-28",
        "first call answered",
        f"a call after {PAUSE} s of quiet",
        "MiB after the list",
    )
    for label in labels:
        rows.add(
            label,
            in_ms(at(label, "list")),
            times(ratio(at(label, "list"), at("json floor", "list"))),
            in_ms(at(label, "list", MODERN)),
            in_ms(at(label, "call")),
            in_ms(median(later[label])),
            f"{at(label, 'memory'):.0f}",
        )
    made.at_most(
        "spawn to answered list, beside the json floor", 1.5, ratio(at("ours", "list"), at("json floor", "list"))
    )
    made.at_most("spawn to answered list, beside fastmcp", 0.05, ratio(at("ours", "list"), at("fastmcp", "list")))
    made.at_most(
        "spawn to first answered call, beside the SDK's high-level class",
        1.0,
        ratio(at("ours", "call"), at("SDK's MCPServer", "call")),
    )
    made.values = {f"{label}, {era}": runs for (label, era), runs in taken.items()}
    made.note("The floor's call is a fixed answer; everybody else sends a request first.")


if __name__ == "__main__":
    chosen = options(__doc__ or "")
    measure(chosen.quick).show(as_json=chosen.json)
