"""What the tests of the sandbox's world share: the data set as a customer's uploads, and people of known faults."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Mapping
from typing import Any

from PIL import Image

from scale_mcp.sandbox import answers
from scale_mcp.sandbox.answers import Answer
from scale_mcp.sandbox.data import Picture, catalog
from scale_mcp.sandbox.noise import Noise
from scale_mcp.sandbox.truth import find_truth
from scale_mcp.sandbox.workforce import Worker

UPLOADS = {f"scaledata://owner/{path.name}": path.read_bytes() for item in catalog() for path in item.paths}


def worker(**noise: Any) -> Worker:
    """Somebody who makes exactly these mistakes; none without any."""
    return Worker("ada@example.com", skill=1.0, speed=1.0, accuracy=1.0, noise=Noise(**noise))


def url(uuid: str) -> str:
    return f"https://results.example.com/{uuid}"


def item(name: str) -> Picture:
    return next(one for one in catalog() if one.name == name)


def upload(name: str, number: int = 0) -> str:
    return f"scaledata://owner/{item(name).paths[number].name}"


def task_about(name: str, kind: str, **params: Any) -> dict[str, Any]:
    """A task of this type about an item of the data set; its own parameters unless others are given."""
    one = item(name)
    addresses = [f"scaledata://owner/{path.name}" for path in one.paths]
    asked: dict[str, Any] = dict(params or one.tasks[kind])
    if kind == "namedentityrecognition":
        asked["text"] = one.text()
    elif kind == "textcollection":
        content = (
            {"type": "text", "content": one.text()}
            if one.kind == "text"
            else {"type": "image", "content": addresses[0]}
        )
        asked["attachments"] = [content]
    elif kind == "videoplaybackannotation":
        asked["attachment"] = addresses[-1]
    elif kind == "videoannotation":
        asked["attachments"] = addresses[:-1]
    elif kind.startswith("lidar"):
        asked["attachments"] = addresses
    else:
        asked["attachment"] = addresses[0]
    return {"type": kind, "params": asked}


def labelled(task: Mapping[str, Any], who: Worker | None = None, seed: int = 1) -> Answer:
    truth = find_truth(task, UPLOADS.get)
    return answers.live_answer(task, truth, who or worker(), url, random.Random(seed))


def fabricated(kind: str, size: tuple[int, int] | None = None, **params: Any) -> Answer:
    return answers.test_answer({"type": kind, "params": params}, url, random.Random(1), size=size)


def behind(answer: Answer, address: str) -> bytes:
    """The response file that a URL of the answer leads to."""
    return next(file.content for file in answer.files if url(file.uuid) == address)


def json_behind(answer: Answer, address: str) -> Any:
    return json.loads(behind(answer, address))


def response(answer: Answer) -> dict[str, Any]:
    assert answer.response is not None
    return answer.response


def annotated(answer: Answer) -> Any:
    return response(answer)["annotations"]


def picture(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))
