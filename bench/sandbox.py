"""The sandbox's own speed: requests per second and p99 with a thousand and with a million tasks stored.

    python bench/sandbox.py [--quick] [--json]

Two sandboxes, each a process with a file, filled in bulk; the same requests to both in turns, by a small client over
kept-alive connections, one at a time and sixteen at once. Creating makes the larger sandbox no larger in proportion,
so its rounds come last and alternate. With --quick the larger one has 10⁵ tasks.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from _clients import RawHttp, load
from _common import KEY, Report, count, median, options, percentile, ratio, report, say, times
from _common import ms as in_ms
from _environments import ours
from _servers import ask, sandbox

AUTH = (
    "Authorization: Basic " + base64.b64encode(f"{KEY}:".encode()).decode() + "\r\nContent-Type: application/json\r\n"
)
WIDTHS = (1, 16)
Make = Callable[[int], tuple[str, str, bytes]]


def work(address: str, size: int) -> dict[str, Make]:
    """Method, path and body of the n-th request of each kind."""
    page = ask(f"{address}/v1/tasks?limit=100")
    ids = [task["task_id"] for task in page["docs"]]
    deep = page
    for _ in range(5):
        deep = ask(f"{address}/v1/tasks?limit=100&next_token={deep['next_token']}")
    token = deep["next_token"]
    unique = itertools.count()
    body = {
        "project": "seeded",
        "attachment": "https://example.com/pictures/1.jpg",
        "geometries": {"box": {"objects_to_annotate": ["car"]}},
    }
    return {
        "get a task": lambda n: ("GET", f"/v1/task/{ids[n % len(ids)]}", b""),
        "page of 100": lambda n: ("GET", "/v1/tasks?limit=100", b""),
        "page of 100, further on": lambda n: ("GET", f"/v1/tasks?limit=100&next_token={token}", b""),
        "page of 100, filtered": lambda n: ("GET", "/v1/tasks?limit=100&project=seeded&status=completed", b""),
        "find by unique_id": lambda n: ("GET", f"/v1/tasks?unique_id=u{n * 7919 % size}", b""),
        "create": lambda n: (
            "POST",
            "/v1/task/imageannotation",
            json.dumps({**body, "unique_id": f"new-{next(unique)}"}).encode(),
        ),
    }


async def run(address: str, make: Make, total: int, width: int) -> tuple[float, list[float]]:
    http = RawHttp(address)
    numbers = itertools.count()

    async def one() -> None:
        method, path, body = make(next(numbers))
        status, _, answer = await http.send(method, path, body, AUTH)
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status} {answer[:200]!r}")

    try:
        await load(one, 2 * width, width)
        return await load(one, total, width)
    finally:
        http.close()


def measure(quick: bool) -> Report:
    sizes = (1_000, 100_000 if quick else 1_000_000)
    rounds, total = (3, 100) if quick else (7, 400)
    made = report(
        "sandbox", f"{sizes[0]:,} and {sizes[1]:,} tasks stored, {rounds} interleaved rounds of {total}", quick=quick
    )
    runs: dict[tuple[str, int, int], list[tuple[float, list[float]]]] = defaultdict(list)
    with TemporaryDirectory() as folder, ExitStack() as boxes:
        addresses, works = {}, {}
        for size in sizes:
            say(f"Filling a sandbox with {size:,} tasks …")
            addresses[size] = boxes.enter_context(sandbox(ours(), "--db", str(Path(folder) / f"{size}.db")))
            seed = {"key": KEY, "tasks": size, "bulk": True, "unique_ids": "u"}
            ask(f"{addresses[size]}/_sandbox/seed", seed)
            works[size] = work(addresses[size], size)
        for kind in works[sizes[0]]:
            say(f"{kind} …")
            for number in range(rounds):
                for width in WIDTHS:
                    for size in sizes if number % 2 else reversed(sizes):
                        runs[kind, width, size].append(
                            asyncio.run(run(addresses[size], works[size][kind], total, width))
                        )
    show(made, runs, sizes)
    return made


def show(
    made: Report, runs: dict[tuple[str, int, int], list[tuple[float, list[float]]]], sizes: tuple[int, int]
) -> None:
    def rate(kind: str, width: int, size: int) -> float:
        return median([len(latencies) / seconds for seconds, latencies in runs[kind, width, size]])

    def p99(kind: str, width: int, size: int) -> float:
        return median([percentile(latencies, 0.99) for _, latencies in runs[kind, width, size]])

    small, large = sizes
    for width in WIDTHS:
        rows = made.table(
            f"{width} at once" if width > 1 else "One at a time",
            "request",
            f"{small:,}: per second",
            "p99 ms",
            f"{large:,}: per second",
            "p99 ms",
            "time, larger beside smaller",
        )
        for kind in dict.fromkeys(kind for kind, _, _ in runs):
            rows.add(
                kind,
                count(rate(kind, width, small)),
                in_ms(p99(kind, width, small)),
                count(rate(kind, width, large)),
                in_ms(p99(kind, width, large)),
                times(ratio(rate(kind, width, small), rate(kind, width, large))),
            )
    for kind in ("page of 100", "create"):
        slower = max(ratio(rate(kind, width, small), rate(kind, width, large)) for width in WIDTHS)
        made.at_most(f"sandbox, {kind}, {small:,} → {large:,} stored", 1.2, slower)
    made.values = {
        f"{kind}, {width} at once, {size}": {"per second": rate(kind, width, size), "p99": p99(kind, width, size)}
        for kind, width, size in runs
    }


if __name__ == "__main__":
    chosen = options(__doc__ or "")
    measure(chosen.quick).show(as_json=chosen.json)
