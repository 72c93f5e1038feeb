"""The two tools as a persona of a hosted server calls them: its own events, and cursors that are good for it alone."""

from __future__ import annotations

import pytest

from scale_mcp.api import ScaleApi
from scale_mcp.hosting.confinement import Confinement
from scale_mcp.hosting.events.bus import EventBus
from scale_mcp.hosting.events.facts import Facts
from scale_mcp.hosting.events.log import EventLog
from scale_mcp.hosting.events.source import EventSource
from scale_mcp.hosting.personas import Persona
from scale_mcp.hosting.seals import BadCursor
from scale_mcp.tools.arguments import check
from scale_mcp.tools.card import Call
from scale_mcp.tools.events import EventList
from scale_mcp.tools.registry import hosted_cards

pytestmark = pytest.mark.anyio
ADA = Persona("per_ada", "ada", projects=("streets",))
BOB = Persona("per_bob", "bob", projects=("lanes",))
EVE = Persona("per_eve", "eve")


class Desk:
    """Calls the tools as personas do."""

    def __init__(self, events: EventLog, bus: EventBus) -> None:
        self.events, self.bus = events, bus

    async def call(self, persona: Persona, name: str, **arguments: object) -> EventList:
        card, confinement = hosted_cards()[name], Confinement(persona, b"k" * 32, None)
        api = ScaleApi("test_nobody_is_asked")
        feed = EventSource(self.events, self.bus, connections=["con_a"], projects=persona.projects)
        request = await confinement.admit(card, check(card, arguments), api)
        output = confinement.confine(card, request, await card.run(Call(api=api, events=feed), request))
        assert isinstance(output, EventList)
        await api.aclose()
        return output


@pytest.fixture
async def desk(events: EventLog, bus: EventBus) -> Desk:
    for i, project in enumerate(["streets", "lanes", None, "streets"]):
        await events.note("con_a", [Facts("task", f"t{i}", "completed", project=project, batch=f"night {i}")])
    await events.note("con_b", [Facts("task", "t9", "completed", project="streets")])
    return Desk(events, bus)


def names(page: EventList) -> list[str | None]:
    return [doc.task_id for doc in page.docs]


async def test_each_persona_sees_its_own(desk: Desk) -> None:
    assert names(await desk.call(ADA, "list_events")) == ["t0", "t3"]
    assert names(await desk.call(BOB, "list_events")) == ["t1"]
    assert names(await desk.call(EVE, "list_events")) == ["t0", "t1", "t2", "t3"]
    assert names(await desk.call(EVE, "list_events", project="streets")) == ["t0", "t3"]


async def test_a_cursor_goes_on_in_both_tools_for_its_own_persona_only(desk: Desk) -> None:
    first = await desk.call(ADA, "list_events", since="2020-01-01", limit=1)
    assert names(first) == ["t0"]
    assert len(first.next_after) > 20  # sealed
    assert f"next_after: {first.next_after}" in first.text()

    assert names(await desk.call(ADA, "list_events", after=first.next_after)) == ["t3"]
    assert names(await desk.call(ADA, "wait_for_events", after=first.next_after, timeout_s=1)) == ["t3"]
    for stranger in (BOB, EVE):
        for name in ("list_events", "wait_for_events"):
            with pytest.raises(BadCursor):
                await desk.call(stranger, name, after=first.next_after)
    for made_up in ("0", "3", first.next_after[:-2]):
        with pytest.raises(BadCursor):
            await desk.call(ADA, "list_events", after=made_up)


async def test_what_a_page_says_does_not_depend_on_what_others_have(desk: Desk, events: EventLog) -> None:
    before = await desk.call(ADA, "list_events")
    await events.note("con_a", [Facts("task", f"x{i}", "error", project="lanes") for i in range(30)])
    after = await desk.call(ADA, "list_events")

    assert before.model_copy(update={"next_after": ""}) == after.model_copy(update={"next_after": ""})
    assert len(before.next_after) == len(after.next_after)
