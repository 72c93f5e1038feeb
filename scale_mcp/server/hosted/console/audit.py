"""Is the trail whole, and who changed what."""

from __future__ import annotations

import json
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scale_mcp.hosting.audit.checks import LONGEST, AuditChecks
from scale_mcp.hosting.overview import Change
from scale_mcp.server.hosted.console.frame import HOME, Form, Frame, Notice, see_other
from scale_mcp.server.hosted.console.sessions import SignedIn

CHANGES = 50
ABOUT = 300  # characters of what a change was about
TOLD = ("actor", "entry")
NOTICES = {
    "begun": Notice("The trail is being verified. Reload this page to see what was found."),
    "running": Notice("It is being verified already.", good=False),
}


def routes(frame: Frame) -> list[Route]:
    checks = AuditChecks(frame.house.database, frame.house.recorder, frame.clock)

    async def audit(request: Request, signed_in: SignedIn) -> Response:
        running, checked = await checks.last()
        return await frame.shown(
            "audit.html",
            signed_in,
            rows=await frame.overview.rows(),
            running=running,
            checked=checked,
            longest=LONGEST,
            changes=[(change, _about(change)) for change in await frame.overview.changes(CHANGES)],
            notice=NOTICES.get(request.query_params.get("done", "")),
        )

    async def verify(request: Request, signed_in: SignedIn, form: Form) -> Response:
        check = await checks.begin(signed_in.actor)
        response = see_other(f"{HOME}/audit?done={'running' if check is None else 'begun'}")
        if check is not None:
            response.background = BackgroundTask(checks.run, check)
        return response

    return [
        Route(f"{HOME}/audit", frame.page(audit), methods=["GET"]),
        Route(f"{HOME}/audit/verify", frame.action(verify), methods=["POST"]),
    ]


def _about(change: Change) -> str:
    """What a change was about, in a line."""
    try:
        content: Any = json.loads(change.content)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        return "(this row cannot be read)"
    told = "; ".join(
        f"{name.replace('_', ' ')}: {_plain(value)}"
        for name, value in content.items()
        if name not in TOLD and value not in (None, "", [], {})
    )
    return told if len(told) <= ABOUT else f"{told[:ABOUT]}…"


def _plain(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
