"""Lists of any length: time per task and peak memory of iterating 10⁴, 10⁵ and 10⁶ tasks through the api layer.

    python bench/lists.py [--quick] [--json]

Each length has a sandbox of its own, as a process with a file, filled in bulk; each iteration is a process of its own,
so that its peak memory is its own. The iteration reads every page there is, newest task first, a hundred per page; the
time of a page is the request's and the reading of the tasks in it. The official client does the shortest list for
comparison. With --quick the lengths are 3 · 10³, 10⁴ and 3 · 10⁴.
"""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from _common import KEY, Report, median, options, ratio, report, say, times, turns
from _common import ms as in_ms
from _environments import SCALEAPI, Unavailable, ours, python_of, versions_of
from _servers import ask, environment, peer, sandbox

LENGTHS = (10_000, 100_000, 1_000_000)
QUICK = (3_000, 10_000, 30_000)


def iterate(python: str, client: str, address: str) -> dict[str, Any]:
    command = [python, peer("iterate.py"), client, address]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-500:])
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def measure(quick: bool) -> Report:
    lengths, rounds = (QUICK, 1) if quick else (LENGTHS, 3)
    made = report("lists", f"tasks iterated through the api layer, medians of {rounds} interleaved rounds", quick=quick)
    runs: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    with TemporaryDirectory() as folder, ExitStack() as boxes:
        addresses = {}
        for length in lengths:
            say(f"Filling a sandbox with {length:,} tasks …")
            file = str(Path(folder) / f"{length}.db")
            addresses[length] = boxes.enter_context(sandbox(ours(), "--db", file))
            ask(f"{addresses[length]}/_sandbox/seed", {"key": KEY, "tasks": length, "bulk": True})
        contestants = [("ours", ours(), "ours", length) for length in lengths]
        try:
            official = python_of("scaleapi", *SCALEAPI)
        except Unavailable as reason:
            made.note(f"scaleapi was not measured: {reason}.")
        else:
            made.machine["scaleapi"] = versions_of(official, "scaleapi").split()[1]
            contestants.append(("scaleapi", official, "scaleapi", lengths[0]))
        for label, python, client, length in turns(contestants, rounds):
            say(f"{label}, {length:,} …")
            run = iterate(python, client, addresses[length])
            if run["tasks"] != length:
                raise RuntimeError(f"{label} gave {run['tasks']} of {length} tasks")
            runs[label, length].append(run)
    show(made, runs, lengths)
    return made


def show(made: Report, runs: dict[tuple[str, int], list[dict[str, Any]]], lengths: tuple[int, ...]) -> None:
    def figure(label: str, length: int, name: str) -> float:
        return median([run[name] for run in runs[label, length]])

    rows = made.table(
        "A list from its first task to its last",
        "client, tasks",
        "seconds",
        "ms per 100 tasks",
        "first pages, ms",
        "last pages, ms",
        "peak MiB",
        "MiB above an idle client",
    )
    for label, length in runs:
        rows.add(
            f"{label}, {length:,}",
            f"{figure(label, length, 'seconds'):.1f}",
            in_ms(100 * figure(label, length, "seconds") / length),
            in_ms(figure(label, length, "first")),
            in_ms(figure(label, length, "last")),
            f"{figure(label, length, 'peak'):.0f}",
            f"{figure(label, length, 'peak') - figure(label, length, 'idle'):.1f}",
        )
    short, long = lengths[0], lengths[-1]

    def per_task(length: int) -> float:
        return figure("ours", length, "seconds") / length

    made.at_most(f"time per task, {short:,} → {long:,} tasks", 1.15, ratio(per_task(long), per_task(short)))
    made.at_most(
        f"peak memory, {short:,} → {long:,} tasks (flat)",
        1.05,
        ratio(figure("ours", long, "peak"), figure("ours", short, "peak")),
    )
    made.at_most(
        f"last page beside first page, {long:,} tasks",
        1.15,
        ratio(figure("ours", long, "last"), figure("ours", long, "first")),
    )
    made.note(f"Ours beside scaleapi on {short:,} tasks: {beside(runs, short)} of its time.")
    made.values = {f"{label}, {length}": measured for (label, length), measured in runs.items()}


def beside(runs: dict[tuple[str, int], list[dict[str, Any]]], length: int) -> str:
    mine, theirs = ([run["seconds"] for run in runs.get((label, length), [])] for label in ("ours", "scaleapi"))
    return times(ratio(median(mine), median(theirs)))


if __name__ == "__main__":
    chosen = options(__doc__ or "")
    measure(chosen.quick).show(as_json=chosen.json)
