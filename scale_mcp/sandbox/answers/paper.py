"""The answer to one task, and the sheet of paper it is written on."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

JSON, PNG = "application/json", "image/png"
Size = tuple[int, int]  # width, height in pixels


@dataclass
class ResponseFile:
    """A result too large for the task itself; ``uuid`` is what its response URL ends with."""

    uuid: str
    content: bytes
    content_type: str


@dataclass
class Answer:
    """``response`` has Scale's shape and nothing else; what was simulated is said beside it, in ``simulation``."""

    response: dict[str, Any] | None
    files: list[ResponseFile] = field(default_factory=list)
    document_pages: list[dict[str, Any]] | None = None
    simulation: dict[str, Any] = field(default_factory=dict)


class Paper:
    """Everything one answer is made from: the task, the dice, and where files and ids come from.

    Ids are drawn from the dice too, so that the same seed gives the same answer byte for byte.
    """

    def __init__(
        self,
        task: Mapping[str, Any],
        url: Callable[[str], str],
        rng: random.Random,
        size: Size | None = None,
    ) -> None:
        params = task.get("params")
        self.params: dict[str, Any] = dict(params) if isinstance(params, Mapping) else {}
        self.type: str = str(task.get("type", ""))
        self.metadata: dict[str, Any] = dict(task.get("metadata") or {})
        self.rng, self._url = rng, url
        self.size = size or _stated_size(self.metadata)
        self.files: list[ResponseFile] = []

    def new_id(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def publish(self, content: bytes, content_type: str) -> str:
        """Keep a result file and return the URL that will serve it."""
        name = self.new_id()
        self.files.append(ResponseFile(name, content, content_type))
        return self._url(name)

    def publish_json(self, value: Any) -> str:
        return self.publish(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), JSON)


def _stated_size(metadata: Mapping[str, Any]) -> Size | None:
    """The picture's size where the customer wrote it into the metadata, as exporters of annotations like to do."""
    width, height = metadata.get("width"), metadata.get("height")
    if isinstance(width, int) and isinstance(height, int) and 0 < width <= 20_000 and 0 < height <= 20_000:
        return width, height
    return None
