"""A Scale that answers from a script, and an api that talks to it without waiting."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import anyio.lowlevel
import httpx2

from scale_mcp.api import ApiOptions, ScaleApi

KEY = "test_canary5e1fd00dcafe0123456789ab"
TASK_ID = "65f0c1d2e3a4b5c6d7e8f901"
TASK = {"task_id": TASK_ID, "type": "imageannotation", "status": "pending", "params": {}, "metadata": {}}

Step = httpx2.Response | Exception | Callable[[httpx2.Request], httpx2.Response | Awaitable[httpx2.Response]]


def ok(value: Any, **headers: str) -> httpx2.Response:
    return httpx2.Response(200, json=value, headers=headers)


def no(status: int, text: str = "It did not work.", **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, json={"status_code": status, "error": text}, headers=named)


@dataclass
class Script:
    """Plays its steps in turn, the last one for ever, and keeps the requests."""

    steps: list[Step] = field(repr=False)
    requests: list[httpx2.Request] = field(default_factory=list)
    sleeps: list[float] = field(default_factory=list)

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        self.requests.append(request)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise step
        if isinstance(step, httpx2.Response):
            return httpx2.Response(step.status_code, headers=step.headers, content=step.content)
        answer = step(request)
        return answer if isinstance(answer, httpx2.Response) else await answer

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await anyio.lowlevel.checkpoint()

    @property
    def lines(self) -> list[str]:
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]

    def body(self, index: int = -1) -> Any:
        content = self.requests[index].content
        return json.loads(content) if content else None


def scale(
    steps: Step | Iterable[Step], *, key: str = KEY, base_url: str = "https://api.scale.com/v1", **options: Any
) -> tuple[ScaleApi, Script]:
    """An api and the script behind it. It draws 0.5 for every random number and never waits."""
    script = Script([*steps] if isinstance(steps, Iterable) else [steps])
    chosen = ApiOptions(**{"sleep": script.sleep, "random": lambda: 0.5, **options})
    transport = httpx2.MockTransport(script)
    return ScaleApi(key, base_url=base_url, transport=transport, options=chosen), script


@dataclass
class TaskRequest:
    """The least that can be created."""

    body: dict[str, Any] = field(default_factory=lambda: {"attachment": "https://example.com/a.png"})
    task_type: str = "imageannotation"

    def to_wire(self) -> dict[str, Any]:
        return dict(self.body)
