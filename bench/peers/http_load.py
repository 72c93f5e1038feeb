"""The same requests to Scale's API by one client or another, as fast as it can at a given width.

    python http_load.py CLIENT WORK ADDRESS COUNT WIDTH

CLIENT is ours, httpx2, aiohttp or scaleapi; WORK is ``create`` (tasks, each with a unique_id), or ``get:TASK_ID``.
Prints one JSON object: seconds, processor seconds, the latency of each request, what failed how often. Runs in the
client's own environment.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

KEY = "live_bench"
BASIC = {"Authorization": "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()}
GEOMETRIES = {"box": {"objects_to_annotate": ["car", "truck", "person"], "min_height": 10, "min_width": 10}}


def body(number: int) -> dict[str, Any]:
    """A task as somebody would create it."""
    return {
        "project": "streets",
        "instruction": "Draw a tight box around each car, truck and person.",
        "attachment": f"https://example.com/pictures/{number:07d}.jpg",
        "geometries": GEOMETRIES,
        "metadata": {"scene": number // 100, "frame": number % 100},
        "unique_id": f"bench-{number}",
    }


Do = Callable[[int], Awaitable[Any]]


def note(failures: dict[str, int], error: Exception) -> None:
    words = f"{type(error).__name__}: {error}"[:200]
    failures[words] = failures.get(words, 0) + 1


async def load(do: Do, total: int, width: int) -> dict[str, Any]:
    """Run ``do`` for -1, to warm up, and then for 0 … total - 1, ``width`` of them at once."""
    numbers = iter(range(total))
    latencies: list[float] = []
    failures: dict[str, int] = {}

    async def worker() -> None:
        for number in numbers:
            began = time.perf_counter()
            try:
                await do(number)
            except Exception as error:  # whatever a client raises is its way to fail
                note(failures, error)
            latencies.append(time.perf_counter() - began)

    with contextlib.suppress(Exception):
        await do(-1)  # what is loaded and built at the first request
    started, before = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(min(width, total))))
    seconds, processor = time.perf_counter() - started, time.process_time() - before
    return {"seconds": seconds, "processor": processor, "latencies": latencies, "failures": failures}


async def ours(work: str, address: str, total: int, width: int) -> dict[str, Any]:
    """Through the api layer: typed, checked, limited, retried, recovered."""
    from scale_mcp.api import ApiOptions, ScaleApi
    from scale_mcp.models.task_requests import ImageAnnotationRequest

    async with ScaleApi(KEY, base_url=f"{address}/v1", options=ApiOptions(max_in_flight=width)) as api:

        async def create(number: int) -> None:
            await api.tasks.create(ImageAnnotationRequest.model_validate(body(number)))

        async def get(number: int) -> None:
            await api.tasks.get(work[4:])

        return await load(create if work == "create" else get, total, width)


async def bare_httpx2(work: str, address: str, total: int, width: int) -> dict[str, Any]:
    import httpx2

    limits = httpx2.Limits(max_connections=width, max_keepalive_connections=width)
    async with httpx2.AsyncClient(headers=BASIC, limits=limits, timeout=60, trust_env=False) as client:

        async def create(number: int) -> None:
            answer = await client.post(f"{address}/v1/task/imageannotation", json=body(number))
            answer.raise_for_status().json()

        async def get(number: int) -> None:
            (await client.get(f"{address}/v1/task/{work[4:]}")).raise_for_status().json()

        return await load(create if work == "create" else get, total, width)


async def bare_aiohttp(work: str, address: str, total: int, width: int) -> dict[str, Any]:
    import aiohttp

    async with aiohttp.ClientSession(headers=BASIC, connector=aiohttp.TCPConnector(limit=width)) as client:

        async def create(number: int) -> None:
            async with client.post(f"{address}/v1/task/imageannotation", json=body(number)) as answer:
                answer.raise_for_status()
                await answer.json()

        async def get(number: int) -> None:
            async with client.get(f"{address}/v1/task/{work[4:]}") as answer:
                answer.raise_for_status()
                await answer.json()

        return await load(create if work == "create" else get, total, width)


def scaleapi_in_threads(work: str, address: str, total: int, width: int) -> dict[str, Any]:
    """The official client in a thread pool, which is how it is used for many tasks."""
    from concurrent.futures import ThreadPoolExecutor

    import requests
    import scaleapi
    from scaleapi.tasks import TaskType

    # It mounts its retries for https only. Here it talks http, so that nobody pays for TLS, and has them all the same.
    mount = requests.Session.mount

    def mount_for_http_too(session: requests.Session, prefix: str, adapter: Any) -> None:
        mount(session, prefix, adapter)
        if prefix == "https://" and adapter.max_retries.total:
            mount(session, "http://", adapter)

    requests.Session.mount = mount_for_http_too  # type: ignore[method-assign]
    client = scaleapi.ScaleClient(KEY, api_instance_url=f"{address}/v1")
    latencies: list[float] = []
    failures: dict[str, int] = {}

    def one(number: int) -> None:
        began = time.perf_counter()
        try:
            if work == "create":
                client.create_task(TaskType.ImageAnnotation, **body(number))
            else:
                client.get_task(work[4:])
        except Exception as error:
            note(failures, error)
        latencies.append(time.perf_counter() - began)

    one(-1)
    latencies.clear()
    failures.clear()
    started, before = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(width) as pool:
        list(pool.map(one, range(total)))
    seconds, processor = time.perf_counter() - started, time.process_time() - before
    return {"seconds": seconds, "processor": processor, "latencies": latencies, "failures": failures}


def main() -> None:
    client, work, address, total, width = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
    if client == "scaleapi":
        measured = scaleapi_in_threads(work, address, total, width)
    else:
        run = {"ours": ours, "httpx2": bare_httpx2, "aiohttp": bare_aiohttp}[client]
        measured = asyncio.run(run(work, address, total, width))
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
