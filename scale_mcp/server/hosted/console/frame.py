"""What all pages of the console share: who is signed in, forms that prove where they come from, and problems told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from scale_mcp.hosting.audit.writer import AuditUnavailable
from scale_mcp.hosting.console_tokens import ConsoleTokens
from scale_mcp.hosting.errors import OperatorError
from scale_mcp.hosting.overview import Overview
from scale_mcp.server.hosted.console.rendering import Renderer
from scale_mcp.server.hosted.console.sessions import Sessions, SignedIn
from scale_mcp.server.logs import get_logger

if TYPE_CHECKING:
    from scale_mcp.hosting.clock import Clock
    from scale_mcp.hosting.house import House
    from scale_mcp.settings import Settings

log = get_logger(__name__)

HOME = "/console"
SIGN_IN = f"{HOME}/sign-in"
MAX_FORM = 16 * 1024  # bytes
FORM_TOKEN = "form_token"  # noqa: S105  # a field's name
STORE_CURE = "The database did not answer as it should. Try again; the server's log says more."
AUDIT_CURE = "The audit trail cannot be written at the moment, so nothing was changed. The server's log says why."

Form = Mapping[str, str]
Page = Callable[[Request, SignedIn], Awaitable[Response]]
Action = Callable[[Request, SignedIn, Form], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Refused(Exception):
    """A request is answered with a page that says what is the matter."""

    def __init__(self, status: HTTPStatus, words: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class Notice:
    """What a page says about the action that led to it. ``good`` is False for one that was not done."""

    words: str
    good: bool = True


class Frame:
    """Makes endpoints of pages and actions."""

    def __init__(self, house: House, settings: Settings) -> None:
        self.house = house
        self.settings = settings
        self.clock: Clock = house.recorder.clock
        self.tokens = ConsoleTokens(house.database, house.recorder, self.clock)
        self.sessions = Sessions(self.tokens, house.vault.derive("console sessions"), self.clock)
        self.overview = Overview(house.database, self.clock)
        self.renderer = Renderer(self.clock)
        self.secure = (settings.public_url or "").startswith("https:")
        self.cookie = f"{'__Secure-' if self.secure else ''}scale-mcp-console"

    def page(self, page: Page) -> Endpoint:
        """An endpoint that shows a page to those who are signed in, and the way there to others."""

        async def endpoint(request: Request) -> Response:
            signed_in = await self.signed_in(request)
            if signed_in is None:
                return see_other(f"{SIGN_IN}?next={quote(request.url.path)}")
            return await page(request, signed_in)

        return self.guarded(endpoint)

    def action(self, action: Action) -> Endpoint:
        """An endpoint that does what a form of the signed-in operator's own page asks for."""

        async def endpoint(request: Request) -> Response:
            signed_in = await self.signed_in(request)
            if signed_in is None:
                raise Refused(HTTPStatus.FORBIDDEN, "You are signed out, and nothing was done. Sign in and try again.")
            form = await form_of(request)
            if not self.sessions.is_own_form(signed_in.session.nonce, form.get(FORM_TOKEN, "")):
                words = "The form did not come from your own page, so nothing was done. Go back, reload, and try again."
                raise Refused(HTTPStatus.FORBIDDEN, words)
            return await action(request, signed_in, form)

        return self.guarded(endpoint)

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint, whose failures become pages."""

        async def guard(request: Request) -> Response:
            try:
                return await endpoint(request)
            except Refused as refusal:
                return await self.problem(request, refusal.status, refusal.words, refusal.headers)
            except OperatorError as problem:
                return await self.problem(request, HTTPStatus.CONFLICT, str(problem))
            except AuditUnavailable:
                return await self.problem(request, HTTPStatus.SERVICE_UNAVAILABLE, AUDIT_CURE)
            except (SQLAlchemyError, OSError):
                log.exception("console_without_store")
                return await self.problem(request, HTTPStatus.SERVICE_UNAVAILABLE, STORE_CURE)
            except (ClientDisconnect, HTTPException):
                raise
            except Exception:
                log.exception("console_crashed")
                words = "This page could not be made, which is a fault of the server. Its log says more."
                return await self.problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, words)

        return guard

    async def signed_in(self, request: Request) -> SignedIn | None:
        return await self.sessions.of(request.cookies.get(self.cookie))

    async def shown(
        self,
        template: str,
        signed_in: SignedIn,
        *,
        status: HTTPStatus = HTTPStatus.OK,
        notice: Notice | None = None,
        **content: Any,
    ) -> Response:
        """A page with everything around it."""
        around: dict[str, Any] = {
            "operator": signed_in.token.name,
            "form_token": signed_in.form_token,
            "waiting_count": await self.overview.waiting_approvals(),
            "notice": notice,
            "replica": self.house.recorder.replica,
            "trail_fails": self.house.recorder.failing,
        }
        return self.renderer.page(template, status, **around, **content)

    async def problem(
        self, request: Request, status: HTTPStatus, words: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        """A page that says what is the matter, which needs nothing but itself."""
        return self.renderer.page("problem.html", status, headers, title=status.phrase, words=words, home=HOME)


def see_other(address: str) -> Response:
    """Go there next, whatever the request was. ``address`` is a path of ours."""
    return RedirectResponse(address, HTTPStatus.SEE_OTHER)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; of several of one name the last. Raises ``Refused`` for what no form of ours sends."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Only forms of this page are taken. Go back and try again.")
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MAX_FORM:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The form is larger than any of this page.")
    try:
        return dict(parse_qsl(content.decode(), keep_blank_values=True, max_num_fields=50))
    except ValueError:
        raise Refused(HTTPStatus.BAD_REQUEST, "The form cannot be read. Go back and try again.") from None
