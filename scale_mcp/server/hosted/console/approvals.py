"""Calls that wait for a person, and the yes or no they get here."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scale_mcp.server.hosted.console.frame import HOME, Form, Frame, Notice, Refused, see_other
from scale_mcp.server.hosted.console.sessions import SignedIn
from scale_mcp.server.hosted.console.states import State, Tone

DECIDED = 25
NOTICES = {
    "approved": Notice("Approved. The agent may make this call once, within the hour; it has to repeat it."),
    "denied": Notice("Denied. The agent is told so when it repeats the call."),
}
TONES: dict[str, Tone] = {"waiting": "wait", "approved": "good", "used": "good", "denied": "bad", "expired": "idle"}


def routes(frame: Frame) -> list[Route]:
    waiting = frame.house.approvals

    async def approvals(request: Request, signed_in: SignedIn) -> Response:
        decided = [each for each in await waiting.list(closed=True, limit=2 * DECIDED) if each.state != "waiting"]
        return await frame.shown(
            "approvals.html",
            signed_in,
            waiting=await waiting.list(),
            decided=[(each, State(each.state, TONES[each.state])) for each in decided[:DECIDED]],
            notice=NOTICES.get(request.query_params.get("done", "")),
        )

    async def decide(request: Request, signed_in: SignedIn, form: Form) -> Response:
        approval, decision = request.path_params["approval"], form.get("decision")
        if decision == "approve":
            await waiting.approve(approval, by=signed_in.actor)
        elif decision == "deny":
            await waiting.deny(approval, by=signed_in.actor)
        else:
            raise Refused(HTTPStatus.BAD_REQUEST, "Nothing was decided: press Approve or Deny.")
        return see_other(f"{HOME}/approvals?done={'approved' if decision == 'approve' else 'denied'}")

    return [
        Route(f"{HOME}/approvals", frame.page(approvals), methods=["GET"]),
        Route(f"{HOME}/approvals/{{approval}}", frame.action(decide), methods=["POST"]),
    ]
