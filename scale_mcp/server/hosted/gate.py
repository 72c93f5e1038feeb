"""The gate of a hosted server: nobody is let in without a token that is good at this moment.

Every path is behind it but the few that are named open, so that no spelling of a path and no route added later is
reachable by accident. Behind it, the SDK finds its own kind of user (for sessions and sealed states), handlers find
the ``Visit``, and nobody finds the token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import anyio
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scale_mcp.hosting.sign_in import CannotTell, NotSignedIn, SignedIn, SignIn
from scale_mcp.server.hosted.oauth import Challenges, metadata_routes
from scale_mcp.server.hosted.sessions import Sessions
from scale_mcp.server.hosted.streams import Stream, Streams, TooMany
from scale_mcp.server.hosted.visit import Visit, during, peer_address
from scale_mcp.server.logs import get_logger
from scale_mcp.server.request_ids import request_id
from scale_mcp.server.sparing import Sparing
from scale_mcp.server.transports.doorman import Doorman

if TYPE_CHECKING:
    from scale_mcp.settings import Settings

log = get_logger(__name__)

OPEN_PATHS = ("/healthz", "/metrics", "/.well-known/", "/callbacks/", "/console", "/console/")
"""Paths that ask for proofs of their own, or need none. A slash at the end: and everything below."""
BEARER = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)")
SECRET_NAMES = frozenset({"access_token", "token", "id_token", "authorization", "bearer", "api_key", "apikey", "key"})
SECRET_VALUE = re.compile(r"smcp_|live_|test_|eyJ")
CALLS = ("POST", "DELETE")  # have an end by themselves, unless the SDK sees to it that the header says otherwise
DOORS = ("/mcp", "/sse", "/messages/")
SESSION_HEADER = "mcp-session-id"
TRY_AGAIN = {"Retry-After": "5"}
SIGN_IN_CURE = "Send a valid token of this server as Authorization: Bearer."


def put_behind_gate(
    app: Starlette,
    sign_in: SignIn,
    settings: Settings,
    *,
    open_paths: Iterable[str] = OPEN_PATHS,
    streams: Streams | None = None,
    sessions: Sessions | None = None,
) -> None:
    """Let only signed-in callers into ``app``, and tell the others where to sign in. Called before it is first run.

    The gate stands right behind the doorman: whatever else is around the application already counts on being inside.
    """
    gate = Middleware(
        HostedGate, sign_in=sign_in, settings=settings, open_paths=open_paths, streams=streams, sessions=sessions
    )
    order: list[Any] = [middleware.cls for middleware in app.user_middleware]
    app.user_middleware.insert(order.index(Doorman) + 1 if Doorman in order else 0, gate)
    app.router.routes += metadata_routes(settings)


class Refusal(Exception):
    """A request is answered here. ``error`` is a code of RFC 6750, or says what is the matter."""

    def __init__(self, status: HTTPStatus, error: str | None, words: str, *, why: str = "") -> None:
        super().__init__(words)
        self.status = status
        self.error = error
        self.words = words
        self.why = why or words


class HostedGate:
    """ASGI middleware. ``open_paths`` are let through unseen; they answer for themselves."""

    def __init__(
        self,
        app: ASGIApp,
        sign_in: SignIn,
        settings: Settings,
        *,
        open_paths: Iterable[str] = OPEN_PATHS,
        streams: Streams | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        self._open_app = app
        self._app = AuthContextMiddleware(app)
        self._sign_in = sign_in
        self._challenges = Challenges(settings)
        self._trusted_hops = settings.trusted_hops
        self._open_exactly = frozenset(path for path in open_paths if not path.endswith("/"))
        self._open_below = tuple(path for path in open_paths if path.endswith("/"))
        self._streams = Streams(sign_in) if streams is None else streams
        self._sessions = Sessions() if sessions is None else sessions
        self._say_refused = Sparing(log.warning, "sign_in_refused")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._streams.watch)
                await self._open_app(scope, receive, send)
                tasks.cancel_scope.cancel()
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif self._is_open(scope["path"]):
            await self._open_app(scope, receive, send)
        else:
            answer = _Answer(send)
            try:
                await self._let_in(scope, receive, answer)
            except Refusal as refusal:
                await self._refuse(refusal, scope, receive, answer)

    def _is_open(self, path: str) -> bool:
        return path in self._open_exactly or path.startswith(self._open_below)

    async def _let_in(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        headers = Headers(scope=scope)
        token = _token(headers, scope["query_string"])
        try:
            signed_in = await self._sign_in.verify(token)
        except NotSignedIn as problem:
            if problem.missing_scopes:
                needed = f"The token lacks the scope {' '.join(problem.missing_scopes)}."
                raise Refusal(HTTPStatus.FORBIDDEN, "insufficient_scope", needed, why=str(problem)) from None
            words = f"The token is not valid, or not any more. {SIGN_IN_CURE}"
            raise Refusal(HTTPStatus.UNAUTHORIZED, "invalid_token", words, why=str(problem)) from None
        except CannotTell as problem:
            words = "Who is calling cannot be found out at the moment. Try again in a few seconds."
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "temporarily_unavailable", words, why=str(problem)) from None
        if scope["method"] == "HEAD":  # which would open the stream that a GET opens, for nobody to read
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "invalid_request", "Send a GET, POST or DELETE.")
        visit = Visit(signed_in, peer_address(scope, self._trusted_hops))
        scope = _introduced(scope, signed_in)
        try:
            with during(visit), self._of_session(scope, headers, signed_in, answer):
                if scope["method"] not in CALLS or headers.get("mcp-method") == "subscriptions/listen":
                    await self._stream(self._streams.open(token, visit), scope, receive, answer)
                else:
                    await self._app(scope, receive, answer.send)
        except TooMany:
            words = (
                "You have as many sessions or streams open as one caller may. End some, or wait until they are idle."
            )
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "too_many_open", words) from None

    def _of_session(
        self, scope: Scope, headers: Headers, signed_in: SignedIn, answer: _Answer
    ) -> AbstractContextManager[None]:
        """Count the session that a request opens, uses or ends. Newer requests know no sessions."""
        version = headers.get("mcp-protocol-version")
        if not scope["path"].startswith("/mcp") or (version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS):
            return nullcontext()
        session_id = headers.get(SESSION_HEADER)
        if session_id is None:
            answer.on_session = lambda opened: self._sessions.opened(opened, signed_in.principal)
            return self._sessions.opening(signed_in.principal)
        if scope["method"] == "DELETE":
            answer.on_success = lambda: self._sessions.ended(session_id)
        return self._sessions.using(session_id)

    async def _stream(self, stream: Stream, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            with stream.within:
                await self._app(scope, stream.receiving(receive), answer.send)
        finally:
            self._streams.close(stream)
        if stream.ended:
            await answer.end()

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, answer: _Answer) -> None:
        self._say_refused(
            status=refusal.status.value,
            why=refusal.why,
            path=scope["path"] if scope["path"] in DOORS else "(another)",  # which may hold whatever was sent
            peer=peer_address(scope, self._trusted_hops),
        )
        headers: dict[str, str] = {"Cache-Control": "no-store"}
        if refusal.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            described = refusal.words if refusal.error is not None else None
            headers["WWW-Authenticate"] = self._challenges.header(scope["path"], refusal.error, described)
        elif refusal.status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = "GET, POST, DELETE"
        elif refusal.status != HTTPStatus.BAD_REQUEST:
            headers |= TRY_AGAIN
        body = {
            "error": refusal.error or "unauthorized",
            "error_description": refusal.words,
            "request_id": request_id(),
        }
        await JSONResponse(body, status_code=refusal.status, headers=headers)(scope, receive, answer.send)


class _Answer:
    """Follows what is sent, to know what it meant for sessions and whether it was finished."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._started = self._finished = False
        self.on_session: Any = None
        self.on_success: Any = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            if message["status"] < 400:
                opened = Headers(raw=list(message["headers"])).get(SESSION_HEADER)
                if self.on_session is not None and opened is not None:
                    self.on_session(opened)
                if self.on_success is not None:
                    self.on_success()
        elif message["type"] == "http.response.body":
            self._finished = not message.get("more_body", False)
        await self._send(message)

    async def end(self) -> None:
        """Finish what was ended in its middle, so that its client sees the end and comes back with its token."""
        if not self._started:
            words = f"The token is not valid any more. {SIGN_IN_CURE}"
            raise Refusal(HTTPStatus.UNAUTHORIZED, "invalid_token", words)
        if not self._finished:
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})


def _token(headers: Headers, query: bytes) -> str:
    """The one bearer token of a request, from the one place where it may be."""
    try:
        fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise Refusal(HTTPStatus.BAD_REQUEST, "invalid_request", "The address has too many parameters.") from None
    if any(name.lower() in SECRET_NAMES or SECRET_VALUE.match(value) for name, value in fields):
        words = (
            "Send tokens in the Authorization header, never in an address: addresses end up in logs. Replace this one."
        )
        raise Refusal(HTTPStatus.BAD_REQUEST, "invalid_request", words, why="a token in the address")
    given = headers.getlist("authorization")
    if len(given) > 1:
        words = "Send one Authorization header, not several."
        raise Refusal(HTTPStatus.BAD_REQUEST, "invalid_request", words)
    if not given or not given[0].lower().startswith("bearer"):
        raise Refusal(HTTPStatus.UNAUTHORIZED, None, SIGN_IN_CURE, why="no bearer token")
    found = BEARER.fullmatch(given[0].strip())
    if found is None:
        words = f"The Authorization header holds no bearer token. {SIGN_IN_CURE}"
        raise Refusal(HTTPStatus.UNAUTHORIZED, "invalid_token", words)
    return found[1]


def _introduced(scope: Scope, signed_in: SignedIn) -> Scope:
    """The request as those behind the gate see it: with its user, without its token."""
    persona, issuer, subject = signed_in.principal
    ends = signed_in.expires_at
    access = AccessToken(
        token="",  # nobody behind the gate needs it
        client_id=persona,
        subject=subject,
        claims={"iss": issuer},
        scopes=[],
        expires_at=int(ends.timestamp()) if ends is not None else None,
    )
    headers = [(name, value) for name, value in scope["headers"] if name.lower() != b"authorization"]
    return {**scope, "headers": headers, "user": AuthenticatedUser(access), "auth": AuthCredentials()}
