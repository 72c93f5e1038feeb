"""Short words for what most tests of tasks, batches and projects ask of the sandbox."""

from __future__ import annotations

from typing import Any

import httpx2

BOXES: dict[str, Any] = {"box": {"objects_to_annotate": ["car"]}}
PICTURE = "https://example.com/street.jpg"
KINDS: dict[str, dict[str, Any]] = {
    "imageannotation": {"attachment": PICTURE, "geometries": BOXES},
    "segmentannotation": {"attachment": PICTURE, "labels": ["road"]},
    "videoannotation": {"attachments": [PICTURE], "geometries": BOXES},
    "videoplaybackannotation": {"attachment": "https://example.com/v.mp4", "geometries": BOXES},
    "lidarannotation": {"attachments": ["https://example.com/0.json"], "labels": ["car"]},
    "lidarsegmentation": {"attachments": ["https://example.com/0.json"], "labels": ["car"]},
    "documenttranscription": {"attachment": PICTURE, "features": [{"type": "block", "label": "total"}]},
    "namedentityrecognition": {"text": "Ann Lee spoke.", "labels": [{"name": "person"}]},
    "textcollection": {
        "attachments": [{"type": "text", "content": "Hello"}],
        "fields": [{"type": "text", "field_id": "mood", "title": "Mood"}],
    },
}


async def ok(answer: Any) -> Any:
    """The JSON of an awaited answer that must be a 200."""
    response = await answer
    assert response.status_code == 200, response.text
    return response.json()


async def refused(answer: Any, status: int) -> str:
    """The error's text of an awaited answer that must be this refusal, in Scale's envelope."""
    response = await answer
    body = response.json()
    assert (response.status_code, body["status_code"]) == (status, status), response.text
    assert set(body) == {"status_code", "error"}
    return str(body["error"])


async def task(client: httpx2.AsyncClient, kind: str = "imageannotation", **more: Any) -> dict[str, Any]:
    """A new task of a kind, with its required params unless others are given; ``None`` leaves one out."""
    body = {name: value for name, value in {**KINDS[kind], **more}.items() if value is not None}
    return dict(await ok(client.post(f"/task/{kind}", json=body)))


async def project(client: httpx2.AsyncClient, name: str = "cars", **more: Any) -> dict[str, Any]:
    return dict(await ok(client.post("/projects", json={"name": name, "type": "imageannotation", **more})))


async def batch(client: httpx2.AsyncClient, name: str = "first", **more: Any) -> dict[str, Any]:
    return dict(await ok(client.post("/batches", json={"name": name, "project": "cars", **more})))


async def listed(client: httpx2.AsyncClient, **query: Any) -> list[str]:
    """The ids of a list of tasks."""
    page = await ok(client.get("/tasks", params=query))
    return [each["task_id"] for each in page["docs"]]
