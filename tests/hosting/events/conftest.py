"""Scale in a box whose clock only moves by hand, and the parts of the events over it, all by that clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from scale_mcp.api import ApiOptions, ScaleApi
from scale_mcp.hosting.events.bus import EventBus
from scale_mcp.hosting.events.inbox import Inbox
from scale_mcp.hosting.events.log import EventLog
from scale_mcp.hosting.events.poller import Poller, Watched
from scale_mcp.hosting.store import Database
from scale_mcp.sandbox import SANDBOX_URL, Sandbox, SandboxOptions

PICTURE = "https://example.com/a.png"
GEOMETRIES = {"box": {"objects_to_annotate": ["car"]}}


@dataclass
class Scale:
    """The sandbox, and one account of it as each connection (``con_live``, ``con_test``) sees it."""

    sandbox: Sandbox
    apis: dict[str, ScaleApi] = field(default_factory=dict)
    reads: int = 0  # how often a connection's API was asked for
    callbacks: bool = False

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.sandbox.clock.now(), UTC)

    async def api(self, connection_id: str) -> ScaleApi | None:
        self.reads += 1
        return self.apis.get(connection_id)

    async def watched(self) -> Sequence[Watched]:
        return [Watched(connection_id, self.callbacks) for connection_id in self.apis]

    @property
    def live(self) -> ScaleApi:
        return self.apis["con_live"]

    @property
    def test(self) -> ScaleApi:
        return self.apis["con_test"]

    async def project(self, name: str = "streets", connection: str = "con_test") -> str:
        await self.apis[connection].projects.create(name, "imageannotation", params={"geometries": GEOMETRIES})
        return name

    async def task(self, connection: str = "con_test", **fields: object) -> str:
        """The id of a new task. With the test key it is completed at once."""
        from scale_mcp.models.task_requests import ImageAnnotationRequest

        request = ImageAnnotationRequest.model_validate({"attachment": PICTURE, "geometries": GEOMETRIES, **fields})
        return (await self.apis[connection].tasks.create(request)).task.task_id

    def recall(self, task_id: str) -> None:
        """Scale takes a completed task back."""
        account = next(no for no in self.sandbox._numbers.values() if self.sandbox.tasks.store.find(no, task_id))
        record = self.sandbox.tasks.store.find(account, task_id)
        assert record is not None
        self.sandbox.engine.recall(record, self.sandbox.clock.now())


@pytest.fixture
async def scale() -> AsyncIterator[Scale]:
    options = ApiOptions(attempts=1)
    async with Sandbox(SandboxOptions(clock="manual")) as sandbox:
        scale = Scale(sandbox)
        for name in ("live", "test"):
            scale.apis[f"con_{name}"] = ScaleApi(
                f"{name}_events", base_url=SANDBOX_URL, transport=sandbox.transport(), options=options
            )
        yield scale
        for api in scale.apis.values():
            await api.aclose()


@pytest.fixture
def events(database: Database, scale: Scale) -> EventLog:
    return EventLog(database, clock=scale.now)


@pytest.fixture
def bus(events: EventLog) -> EventBus:
    return EventBus(events)


@pytest.fixture
def inbox(database: Database, events: EventLog, scale: Scale) -> Inbox:
    return Inbox(database, events, scale, clock=scale.now)


@pytest.fixture
def poller(database: Database, events: EventLog, scale: Scale) -> Poller:
    return Poller(database, events, scale, scale, clock=scale.now)
