"""Signing in at the console, and out of it."""

from __future__ import annotations

import re
import secrets
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scale_mcp.hosting.console_tokens import FORM, PREFIX
from scale_mcp.server.hosted.console.frame import (
    FORM_TOKEN,
    HOME,
    SIGN_IN,
    Form,
    Frame,
    Notice,
    Refused,
    form_of,
    see_other,
)
from scale_mcp.server.hosted.console.sessions import LASTS, Attempts, SignedIn
from scale_mcp.server.hosted.visit import peer_address
from scale_mcp.server.logs import get_logger

log = get_logger(__name__)

OWN_PAGE = re.compile(r"/console(?:/(?!sign-)[A-Za-z0-9_-]+){0,2}")  # where one may be sent after signing in
NONCE = re.compile(r"[0-9a-f]{32}")
NOT_GOOD = "This token is not good, or not any more."
PERSONAS = (
    "This is a persona's token, which opens no console. Make one for yourself: scale-mcp console token add NAME. "
    "If others could have seen it here, revoke it."
)


class Door:
    """The form that takes a token, and what becomes of it."""

    def __init__(self, frame: Frame, attempts: Attempts | None = None) -> None:
        self._frame = frame
        self._attempts = attempts or Attempts()
        self._form_cookie = f"{frame.cookie}-form"  # as one who is not signed in has no session to tie a form to

    def routes(self) -> list[Route]:
        frame = self._frame
        return [
            Route(SIGN_IN, frame.guarded(self.show), methods=["GET"]),
            Route(SIGN_IN, frame.guarded(self.enter), methods=["POST"]),
            Route(f"{HOME}/sign-out", frame.action(self.leave), methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        if await self._frame.signed_in(request) is not None:
            return see_other(HOME)
        left = "left" in request.query_params
        return self._form(request, Notice("You are signed out, everywhere with this token.") if left else None)

    async def enter(self, request: Request) -> Response:
        peer = peer_address(request.scope, self._frame.settings.trusted_hops)
        form = await form_of(request)
        if not self._frame.sessions.is_own_form(self._nonce(request) or "", form.get(FORM_TOKEN, "")):
            words = "This form was open for too long, or your browser keeps no cookies. Try again."
            return self._form(request, Notice(words, good=False), HTTPStatus.FORBIDDEN)
        if wait := self._attempts.take(peer):
            log.warning("console_sign_in_refused", peer=peer, why="too many attempts")
            words = f"Too many attempts from your address. Try again in {max(1, round(wait / 60))} min."
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, words, {"Retry-After": f"{wait:.0f}"})
        given = form.get("token", "").strip()
        token = await self._frame.tokens.sign_in(given, peer=peer)
        if token is None:
            log.warning("console_sign_in_refused", peer=peer, why="no good token")
            persona = given.startswith("smcp_") and not given.startswith(PREFIX) and not FORM.fullmatch(given)
            return self._form(request, Notice(PERSONAS if persona else NOT_GOOD, good=False), HTTPStatus.UNAUTHORIZED)
        self._attempts.forget(peer)
        wanted = form.get("next", "")
        response = see_other(wanted if OWN_PAGE.fullmatch(wanted) else HOME)
        self._set(response, self._frame.cookie, self._frame.sessions.begin(token))
        self._forget(response, self._form_cookie)
        return response

    async def leave(self, request: Request, signed_in: SignedIn, form: Form) -> Response:
        await self._frame.tokens.sign_out(signed_in.token)
        response = see_other(f"{SIGN_IN}?left")
        self._forget(response, self._frame.cookie)
        return response

    def _form(self, request: Request, notice: Notice | None, status: HTTPStatus = HTTPStatus.OK) -> Response:
        nonce = self._nonce(request) or secrets.token_hex(16)
        wanted = request.query_params.get("next", "")
        response = self._frame.renderer.page(
            "sign_in.html",
            status,
            form_token=self._frame.sessions.form_token(nonce),
            next=wanted if OWN_PAGE.fullmatch(wanted) else "",
            notice=notice,
        )
        self._set(response, self._form_cookie, nonce)
        return response

    def _nonce(self, request: Request) -> str | None:
        given = request.cookies.get(self._form_cookie, "")
        return given if NONCE.fullmatch(given) else None

    def _set(self, response: Response, cookie: str, value: str) -> None:
        response.set_cookie(
            cookie,
            value,
            max_age=int(LASTS.total_seconds()),
            path=HOME,
            secure=self._frame.secure,
            httponly=True,
            samesite="strict",
        )

    def _forget(self, response: Response, cookie: str) -> None:
        response.delete_cookie(cookie, HOME, secure=self._frame.secure, httponly=True, samesite="strict")
