"""A persona's calls against a sandbox as a hosted server makes them, and a record of what reached Scale."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from scale_mcp.api import ScaleApi, ScaleError
from scale_mcp.hosting.confinement import Confinement, Homes
from scale_mcp.hosting.personas import Persona
from scale_mcp.sandbox import SANDBOX_URL, Sandbox, SandboxOptions
from scale_mcp.tools.arguments import check
from scale_mcp.tools.card import Call, ToolFailure, ToolOutput
from scale_mcp.tools.registry import hosted_cards

KEY = b"k" * 32
BOXES = {"box": {"objects_to_annotate": ["car"]}}
PICTURE = "https://example.com/street.jpg"
MINE, FOREIGN, THIRD = "streets", "yards", "harbours"


class Recording(httpx2.AsyncBaseTransport):
    """Passes requests on and notes their methods and paths."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self.inner = inner
        self.sent: list[str] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(f"{request.method} {request.url.raw_path.decode()}")
        return await self.inner.handle_async_request(request)


@dataclass
class World:
    """A sandbox with one live account; names and ids of what is in it."""

    api: ScaleApi
    wire: Recording
    tasks: dict[str, str] = field(default_factory=dict)  # a task's id by its project

    async def furnish(self, project: str, *, tasks: int = 1) -> None:
        """A project with a batch of its name and ``-1``, a file, and tasks."""
        api = self.api
        await api.projects.create(project, "imageannotation", params={"instruction": "x", "geometries": BOXES})
        await api.batches.create(project, f"{project}-1")
        await api.files.import_url(PICTURE, project_name=project)
        card = hosted_cards()["create_image_annotation_task"]
        for number in range(tasks):
            arguments = {"batch": f"{project}-1", "attachment": PICTURE, "unique_id": f"{project}-{number}"}
            made = await card.run(Call(api=api), check(card, arguments))
            self.tasks.setdefault(project, made.model_dump()["task_id"])
        self.wire.sent.clear()


@asynccontextmanager
async def world(*projects: str, tasks: int = 1) -> AsyncIterator[World]:
    async with Sandbox(SandboxOptions(clock="manual", seed=7)) as sandbox:
        wire = Recording(sandbox.transport())
        async with ScaleApi("live_confined", base_url=SANDBOX_URL, transport=wire) as api:
            made = World(api, wire)
            for project in projects:
                await made.furnish(project, tasks=tasks)
            yield made


def persona(*projects: str, name: str = "ada") -> Persona:
    return Persona(id=f"per_{name}", name=name, scopes=("*",), projects=projects)


class Desk:
    """Takes a persona's calls through its confinement, step by step as a server does."""

    def __init__(self, at: World, who: Persona, homes: Homes | None = None) -> None:
        self.world = at
        self.confinement = Confinement(who, KEY, homes)

    async def call(self, name: str, /, **arguments: Any) -> ToolOutput:
        card = hosted_cards()[name]
        assert self.confinement.offers(card), f"{name} is not offered"
        asked = check(card, arguments)
        request = await self.confinement.admit(card, asked, self.world.api)
        try:
            call = Call(api=self.world.api, visible_projects=self.confinement.visible_projects)
            return self.confinement.confine(card, request, await card.run(call, request))
        except ScaleError as error:
            raise self.confinement.uniform(card, request, error) from None

    async def refusal(self, name: str, /, **arguments: Any) -> tuple[type[Exception], str, str, list[str]]:
        """The kind of failure, its code and words, and what was sent before it."""
        self.world.wire.sent.clear()
        try:
            output = await self.call(name, **arguments)
        except (ToolFailure, ScaleError) as problem:
            return type(problem), getattr(problem, "code", ""), str(problem), list(self.world.wire.sent)
        raise AssertionError(f"{name} went through: {output}")


def structure(output: ToolOutput) -> dict[str, Any]:
    return output.model_dump(mode="json", by_alias=True, exclude_none=True)
