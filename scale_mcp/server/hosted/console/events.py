"""What happened at Scale, and what became of it on its way to the operator's webhooks."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scale_mcp.hosting.events.webhook_records import read_webhooks, recent_deliveries, shown
from scale_mcp.server.hosted.console.frame import HOME, Frame
from scale_mcp.server.hosted.console.sessions import SignedIn
from scale_mcp.server.hosted.console.states import State, Tone

LATEST = 50
TONES: dict[str, Tone] = {"delivered": "good", "waiting": "wait", "failed": "bad"}


def routes(frame: Frame) -> list[Route]:
    house = frame.house

    async def events(request: Request, signed_in: SignedIn) -> Response:
        latest = (await house.events.latest(LATEST))[::-1]
        names = {record.id: record.name for record in await house.connections.list(include_removed=True)}
        async with house.database.reading() as connection:
            webhooks = await read_webhooks(connection)
            deliveries = await recent_deliveries(connection, LATEST)
        return await frame.shown(
            "events.html",
            signed_in,
            events=[(event, names.get(event.connection, event.connection)) for event in latest],
            webhooks=[(webhook, shown(webhook)["url"]) for webhook in webhooks],
            deliveries=[(each, State(each.state, TONES.get(each.state, "idle"))) for each in deliveries],
        )

    return [Route(f"{HOME}/events", frame.page(events), methods=["GET"])]
