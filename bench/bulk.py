"""Bulk creation: tasks per second against an API that answers after 0, 20 and 50 ms, with and without faults.

    python bench/bulk.py [--quick] [--json] [--latency MS …] [--tasks N]

The API is a bare asyncio server (bench/_bare_api.py), so that the clients are measured and not the sandbox. All create
the same tasks, each with a unique_id. Ours goes through the api layer (typed request, limits, retries, recovery);
scaleapi runs in a thread pool; aiohttp and httpx2 are bare loops without any retry, the floor. Each first looks for its
best width at each latency; then they take turns. With faults, a fiftieth of the requests meets one (see the server),
and what counts is also how many tasks are there in the end, and how many the client took for failed. ``--latency 50``
runs that row alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from _common import Report, count, median, options, percentile, ratio, report, say, turns
from _common import ms as in_ms
from _environments import AIOHTTP, SCALEAPI, Unavailable, ours, python_of, versions_of
from _servers import ask, bare_api, environment, peer

LATENCIES = (0, 20, 50)  # milliseconds
FAULTS = 0.02
WIDTHS = (8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Client:
    label: str
    kind: str  # as peers/http_load.py names it
    python: str
    widths: tuple[int, ...]


def clients(notes: list[str]) -> list[Client]:
    """Whoever can be had here. The rest is noted."""
    found = []
    for label, kind, python, widths in (
        ("ours", "ours", lambda: ours(), WIDTHS),
        ("ours, default width", "ours", lambda: ours(), (16,)),
        ("ours with fast", "ours", lambda: ours("fast"), WIDTHS),
        ("scaleapi in threads", "scaleapi", lambda: python_of("scaleapi", *SCALEAPI), WIDTHS[:-1]),
        ("httpx2, bare", "httpx2", lambda: ours(), WIDTHS),
        ("aiohttp, bare", "aiohttp", lambda: python_of("aiohttp", *AIOHTTP), WIDTHS),
    ):
        try:
            found.append(Client(label, kind, python(), widths))
        except Unavailable as reason:
            notes.append(f"{label} was not measured: {reason}.")
    return found


def run(client: Client, address: str, latency: float, faults: float, total: int, width: int) -> dict[str, Any]:
    """One run over an empty server: the client's own figures and the server's counts."""
    ask(f"{address}/_bench", {"latency": latency, "faults": faults, "seed": 1})
    command = [client.python, peer("http_load.py"), client.kind, "create", address, str(total), str(width)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode:
        raise RuntimeError(f"{client.label}: {done.stderr.strip()[-500:]}")
    measured: dict[str, Any] = json.loads(done.stdout)
    failed = sum(measured["failures"].values())
    if failed and not faults:
        raise RuntimeError(f"{client.label}: {failed} of {total} failed, such as {next(iter(measured['failures']))}")
    return measured | {"rate": (total - failed) / measured["seconds"], "server": ask(f"{address}/_bench")}


def works(client: Client, notes: list[str]) -> bool:
    """A few creates; whoever cannot do them is left out."""
    try:
        with bare_api(ours()) as address:
            run(client, address, 0, 0, 20, 4)
    except RuntimeError as error:
        notes.append(f"{client.label} did not get through: {error}")
        return False
    return True


def best_width(client: Client, address: str, latency: float, quick: bool) -> int:
    """The width with the highest rate; stops looking when two wider ones in a row were slower."""
    rates: dict[int, float] = {}
    for width in client.widths:
        if len(client.widths) == 1:
            return width
        total = 300 if quick else max(1000, 6 * width)
        rates[width] = run(client, address, latency, 0, max(total, 2 * width), width)["rate"]
        best = max(rates, key=lambda w: rates[w])
        if [w for w in rates if w > best][1:]:
            break
    say(f"  {client.label}: " + ", ".join(f"{width}: {rate:,.0f}/s" for width, rate in rates.items()))
    return max(rates, key=lambda w: rates[w])


def measure(quick: bool, latencies: Sequence[float] = (), tasks: int = 0) -> Report:
    """All rows, or those of ``latencies`` in milliseconds; ``tasks`` in each run, as many as usual when it is 0."""
    notes: list[str] = []
    contestants = clients(notes)
    contestants = [client for client in contestants if works(client, notes)]
    total, rounds = (1000, 1) if quick else (20_000, 2)
    total = tasks or total
    made = report("bulk", f"{total:,} tasks created", quick=quick)
    for client in contestants:
        if client.kind in ("scaleapi", "aiohttp"):
            made.machine[client.kind] = versions_of(client.python, client.kind).split()[1]
    made.notes += notes
    rates: dict[tuple[str, float, bool], float] = {}
    chosen = latencies or (LATENCIES[::2] if quick else LATENCIES)
    with bare_api(python_of("server", "uvloop") if _has_uvloop() else ours()) as address:
        for latency in (milliseconds / 1000 for milliseconds in chosen):
            say(f"Widths at {latency * 1000:.0f} ms …")
            widths = {client.label: best_width(client, address, latency, quick) for client in contestants}
            for faults in (0.0, FAULTS):
                runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
                for client in turns(contestants, 1 if faults else rounds):
                    say(f"{latency * 1000:.0f} ms, {'faults, ' if faults else ''}{client.label} …")
                    runs[client.label].append(run(client, address, latency, faults, total, widths[client.label]))
                table(made, latency, faults, total, widths, runs)
                for label, measured in runs.items():
                    rates[label, latency, bool(faults)] = median([r["rate"] for r in measured])

    def rate(label: str) -> float:
        return rates.get((label, 0.050, False), float("nan"))

    fastest = rate("ours with fast")
    if fastest != fastest:
        fastest = rate("ours")
        made.note("The extra `fast` is not there: both targets are judged by the default transport.")
    made.at_least(
        "bulk create at 50 ms, beside the official client's best pool", 3.5, ratio(fastest, rate("scaleapi in threads"))
    )
    made.at_least("bulk create at 50 ms, beside bare aiohttp", 0.5, ratio(fastest, rate("aiohttp, bare")))
    made.values = {
        f"{label}, {latency * 1000:.0f} ms{', faults' if faults else ''}": value
        for (label, latency, faults), value in rates.items()
    }
    made.note(
        "scaleapi opens a connection for each request; over https, as in use, each would cost a TLS handshake, too."
    )
    made.note(
        "A bare loop does not repeat anything: with faults, its failures are tasks that somebody has to look for."
    )
    return made


def table(
    made: Report,
    latency: float,
    faults: float,
    total: int,
    widths: dict[str, int],
    runs: dict[str, list[dict[str, Any]]],
) -> None:
    title = f"{latency * 1000:.0f} ms per answer" + (f", a fault in {faults:.0%} of the creates" if faults else "")
    rows = made.table(
        title,
        "client",
        "width",
        "tasks/s",
        "p50 ms",
        "p99 ms",
        "CPU ms per task",
        "beside scaleapi",
        "requests",
        "taken for failed",
        "missing",
    )
    rate = {label: median([r["rate"] for r in measured]) for label, measured in runs.items()}
    for label, measured in runs.items():
        last = measured[-1]
        times = [x for r in measured for x in r["latencies"]]
        rows.add(
            label,
            widths[label],
            count(rate[label]),
            in_ms(median(times)),
            in_ms(percentile(times, 0.99)),
            in_ms(median([r["processor"] for r in measured]) / total),
            f"{ratio(rate[label], rate.get('scaleapi in threads', float('nan'))):.2f} ×",
            last["server"]["requests"],
            sum(last["failures"].values()),
            total + 1 - last["server"]["stored"],
        )


def _has_uvloop() -> bool:
    try:
        python_of("server", "uvloop")
    except Unavailable:
        return False
    return True


def more_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--latency", type=float, nargs="+", default=(), metavar="MS", help="these rows only")
    parser.add_argument("--tasks", type=int, default=0, metavar="N", help="tasks in each run")


if __name__ == "__main__":
    chosen = options(__doc__ or "", more_options)
    measure(chosen.quick, chosen.latency, chosen.tasks).show(as_json=chosen.json)
