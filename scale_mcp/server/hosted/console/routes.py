"""The console as an application of its own, so that whatever it answers carries its headers."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scale_mcp.server.hosted.console import approvals, audit, batches, calls, events, overview, personas
from scale_mcp.server.hosted.console.frame import HOME, Frame
from scale_mcp.server.hosted.console.rendering import static_answer
from scale_mcp.server.hosted.console.sign_in import Door

if TYPE_CHECKING:
    from scale_mcp.hosting.house import House
    from scale_mcp.settings import Settings

PAGES = (overview, calls, personas, approvals, events, batches, audit)


def console_routes(house: House, settings: Settings) -> list[Route]:
    """The routes of the operator's page. They ask for a console token themselves, and take no other."""
    console = _application(Frame(house, settings))
    return [Route(HOME, endpoint=console), Route(f"{HOME}/{{rest:path}}", endpoint=console)]


def _application(frame: Frame) -> Starlette:
    async def file(request: Request) -> Response:
        answer = static_answer(request.path_params["name"])
        return answer or await frame.problem(request, HTTPStatus.NOT_FOUND, "There is no such file.")

    async def elsewhere(request: Request, problem: Exception) -> Response:
        assert isinstance(problem, HTTPException)
        status = HTTPStatus(problem.status_code)
        words = "There is no such page." if status == HTTPStatus.NOT_FOUND else "That cannot be done with this address."
        return await frame.problem(request, status, words, problem.headers)

    routes = [
        Route(f"{HOME}/static/{{name}}", endpoint=file, methods=["GET"]),
        *Door(frame).routes(),
        *(route for page in PAGES for route in page.routes(frame)),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: elsewhere})
    app.router.redirect_slashes = False
    return app
