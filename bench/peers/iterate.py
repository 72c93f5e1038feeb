"""All tasks of an account, one after the other, by one client or another.

    python iterate.py ours|scaleapi ADDRESS

Prints one JSON object: seconds, tasks, the median seconds of the first and of the last twenty pages, MiB of memory
before the list and at the peak.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import sys
import time
from collections import deque

KEY = "live_bench"
PAGE = 100
PAGES = 20


class Watch:
    """Notes when each page was through."""

    def __init__(self) -> None:
        self.tasks = 0
        self.first: list[float] = []
        self.last: deque[float] = deque(maxlen=PAGES)
        self.began = self.page_began = time.perf_counter()

    def task(self) -> None:
        self.tasks += 1
        if self.tasks % PAGE == 0:
            now = time.perf_counter()
            if len(self.first) <= PAGES:
                self.first.append(now - self.page_began)
            self.last.append(now - self.page_began)
            self.page_began = now


def peak() -> float:
    """MiB: the most this process ever had."""
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


async def ours(address: str) -> tuple[Watch, float]:
    from scale_mcp.api import ScaleApi
    from scale_mcp.models.tasks import TaskFilter

    async with ScaleApi(KEY, base_url=f"{address}/v1") as api:
        await api.tasks.count(TaskFilter())
        idle, watch = peak(), Watch()
        async for _ in api.tasks.iterate(TaskFilter()):
            watch.task()
        return watch, idle


def official(address: str) -> tuple[Watch, float]:
    import scaleapi

    client = scaleapi.ScaleClient(KEY, api_instance_url=f"{address}/v1")
    client.tasks(limit=1)
    idle, watch = peak(), Watch()
    for _ in client.get_tasks(project_name="seeded", limit=PAGE):
        watch.task()
    return watch, idle


def main() -> None:
    watch, idle = asyncio.run(ours(sys.argv[2])) if sys.argv[1] == "ours" else official(sys.argv[2])
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - watch.began,
                "tasks": watch.tasks,
                "first": statistics.median(watch.first[1:]),  # the very first page opens the connection
                "last": statistics.median(watch.last),
                "idle": idle,
                "peak": peak(),
            }
        )
    )


if __name__ == "__main__":
    main()
