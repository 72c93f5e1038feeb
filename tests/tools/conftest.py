"""A Scale that records what it is asked and answers plausibly."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from scale_mcp.api import ApiOptions, ScaleApi
from scale_mcp.tools.arguments import check
from scale_mcp.tools.card import Call, ToolOutput
from scale_mcp.tools.registry import cards

TASK_ID = "65f0c1d2e3a4b5c6d7e8f901"
UUID = "6d0e9a4e-1111-4222-8333-444455556666"
NOW = "2026-03-12T10:15:30.123Z"


@dataclass(frozen=True)
class Sent:
    """One request as Scale got it. ``body`` is decoded JSON, or None."""

    method: str
    path: str  # raw, percent-encoded, without /v1
    query: list[tuple[str, str]]
    body: Any
    content: bytes


Answer = Any | Callable[[httpx2.Request], httpx2.Response]


@dataclass
class FakeScale:
    """Answers by ``"METHOD /path"`` (raw path) from ``answers``, else with something of the right shape."""

    sent: list[Sent] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        target = request.url.raw_path.decode()
        path, _, _ = target.partition("?")
        path = path.removeprefix("/v1")
        content = request.read()
        is_json = request.headers.get("content-type", "").startswith("application/json")
        body = json.loads(content) if content and is_json else None
        self.sent.append(Sent(request.method, path, list(request.url.params.multi_items()), body, content))
        answer = self.answers.get(f"{request.method} {path}")
        if answer is None:
            answer = usual_answer(request.method, path, body)
        if callable(answer):
            return answer(request)
        return httpx2.Response(200, json=answer)


def usual_answer(method: str, path: str, body: Any) -> Any:
    parts = path.strip("/").split("/")
    match parts:
        case ["task", kind] if method == "POST":
            return task(type=kind, **({"unique_id": body["unique_id"]} if "unique_id" in body else {}))
        case ["task", _, "tags"]:
            return task(tags=[] if method == "DELETE" else body)
        case ["task", _, "response_url", _]:
            return [{"annotations": []}]
        case ["task", _, "send_callback"]:
            return {"success": True}
        case ["task", _, "setMetadata"]:
            return task(metadata=body)
        case ["task", _, "unique_id"]:
            return task(**(body or {}))
        case ["task", _, "cancel"]:
            return task(status="canceled")
        case ["task", _]:
            return task()
        case ["tasks"]:
            return {"docs": [task()], "total": 1, "limit": 20, "offset": 0, "has_more": False}
        case ["evaluation_tasks", _]:
            return {"id": TASK_ID, "expected_response": body["expected_response"]}
        case ["batches"] if method == "GET":
            return {"docs": [batch()], "totalDocs": 1, "limit": 20, "offset": 0, "has_more": False}
        case ["batches", _, "status"]:
            return {"status": "in_progress", "pending": 5, "completed": 100}
        case ["batches", _, "prioritize"]:
            return {"result": "ok"}
        case ["batches", *_]:
            return batch()
        case ["projects"] if method == "GET":
            return [project()]
        case ["projects", *_]:
            return project()
        case ["files"]:
            return {"docs": [file()], "total": 1, "has_more": False}
        case ["files", _]:
            return file()
        case ["teams", *_]:
            return [{"email": "ann@example.com", "role": "admin"}, {"email": "eve@example.com", "role": "invited"}]
        case ["studio", "assignments", *_]:
            return {"ann@example.com": ["warehouse", "yard"], "bob@example.com": []}
        case ["studio", "batches", *_]:
            return [studio_batch("yard-01"), studio_batch("yard-03")]
        case ["audits"]:
            return [{"id": "a1", "task_id": TASK_ID, "result": "rejected", "feedback_items": []}]
        case ["quality", "labelers"]:
            return {"docs": [{"id": "t1", "labeler_email": "ann@example.com", "score": 0.9}], "has_more": False}
    raise AssertionError(f"no answer for {method} {path}")


def task(**fields: Any) -> dict[str, Any]:
    return {
        "task_id": TASK_ID,
        "type": "imageannotation",
        "status": "pending",
        "created_at": NOW,
        "metadata": {},
        "params": {"attachment": "https://example.com/a.png"},
        "is_test": False,
        **fields,
    }


def batch(**fields: Any) -> dict[str, Any]:
    return {"project": "warehouse", "name": "w-01", "status": "staging", "created_at": NOW, "metadata": {}} | fields


def project(**fields: Any) -> dict[str, Any]:
    history = [{"version": 0, "created_at": NOW}]
    return {"name": "warehouse", "type": "imageannotation", "param_history": history, "created_at": NOW} | fields


def file(**fields: Any) -> dict[str, Any]:
    url = f"scaledata://606e2a0a46102303a1309491/{UUID}"
    return {"id": UUID, "attachment_url": url, "mime_type": "image/png", "size": 5, "project_names": []} | fields


def studio_batch(name: str) -> dict[str, Any]:
    return {"id": "1", "name": name, "projectName": "yard", "batchType": "Production", "total": 9, "completed": 1}


@pytest.fixture
def scale() -> FakeScale:
    return FakeScale()


@pytest.fixture
async def api(scale: FakeScale) -> AsyncIterator[ScaleApi]:
    options = ApiOptions(attempts=1)
    async with ScaleApi("test_tools", transport=httpx2.MockTransport(scale), options=options) as api:
        yield api


@pytest.fixture
def call(api: ScaleApi) -> Call:
    return Call(api=api)


async def run(call: Call, name: str, arguments: dict[str, Any]) -> ToolOutput:
    """One call as the server makes it."""
    card = cards()[name]
    return await card.run(call, check(card, arguments))
