"""``POST /callbacks/<connection id>``: where Scale tells what has happened, which goes into the inbox unexamined.

The sender proves with the ``scale-callback-auth`` header that it is Scale, before a byte of the body is read. Whatever
the body says then only names what to look at; nothing of it is believed, kept or shown.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import anyio.to_thread
from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scale_mcp.hosting.errors import OperatorError
from scale_mcp.hosting.events.inbox import Arrival
from scale_mcp.models.field_types import Identifier, Name
from scale_mcp.server.logs import get_logger
from scale_mcp.server.sparing import Sparing
from scale_mcp.text import one_line

if TYPE_CHECKING:
    from pydantic import SecretStr

log = get_logger(__name__)

HEADER = b"scale-callback-auth"
MAX_BODY = 16 * 1024 * 1024  # bytes; a callback carries the whole task, its response twice
LARGE = 64 * 1024  # bytes of JSON above which reading it would hold up other requests
AT_ONCE = 16  # bodies in memory
PATIENCE = 15.0  # seconds for the body to arrive
NOBODY = b"no callback carries this: " + secrets.token_bytes(32)

_TASK_ID: TypeAdapter[str] = TypeAdapter(Identifier)
_BATCH_NAME: TypeAdapter[str] = TypeAdapter(Name)


class Taking(Protocol):
    """What is needed of the inbox."""

    async def put(self, connection_id: str, arrival: Arrival) -> bool: ...


class CallbackSecrets(Protocol):
    """What is needed of the connections."""

    async def callback_secret(self, connection_id: str) -> SecretStr | None: ...


class Callbacks:
    """Takes callbacks. Answers in the time of one look-up and one write; the work is done behind it.

    ``outcomes`` counts what became of them: taken, repeated, refused, or not kept.
    """

    def __init__(self, inbox: Taking, connections: CallbackSecrets, *, max_body: int = MAX_BODY) -> None:
        self._inbox = inbox
        self._connections = connections
        self._max_body = max_body
        self._in_memory = anyio.CapacityLimiter(AT_ONCE)
        self.outcomes: Counter[str] = Counter()
        self._say_refused = Sparing(log.warning, "callback_refused")

    def routes(self) -> list[Route]:
        return [Route("/callbacks/{connection_id}", endpoint=self.take, methods=["POST"])]

    async def take(self, request: Request) -> Response:
        connection_id: str = request.path_params["connection_id"]
        try:
            if not await self._is_scale(request, connection_id):
                return self._refused(connection_id, 401, "The callback does not prove that it is Scale's.")
            async with self._in_memory:
                return await self._keep(request, connection_id)
        except ClientDisconnect:
            self.outcomes["refused"] += 1
            return Response(status_code=400)
        except OperatorError as problem:  # the vault stays closed
            log.error("callback_not_taken", connection=one_line(connection_id, 60), problem=str(problem))
        except Exception:
            log.exception("callback_not_taken", connection=one_line(connection_id, 60))
        self.outcomes["not kept"] += 1
        return _answer(503, "It cannot be kept at the moment; send it again.")  # which Scale does

    async def _is_scale(self, request: Request, connection_id: str) -> bool:
        """Whether there is exactly one proof, and it is right. Takes as long for a connection that is not there."""
        given = [value for name, value in request.scope["headers"] if name.lower() == HEADER]
        if len(given) != 1:
            return False
        secret = await self._connections.callback_secret(connection_id)
        expected = secret.get_secret_value().encode() if secret is not None else NOBODY
        return hmac.compare_digest(given[0], expected) and secret is not None

    async def _keep(self, request: Request, connection_id: str) -> Response:
        try:
            with anyio.fail_after(PATIENCE):
                content = await self._body(request)
        except TimeoutError:
            return self._refused(connection_id, 408, "The body took too long.")
        if content is None:
            return self._refused(connection_id, 413, f"The body has more than {self._max_body} bytes.")
        try:
            if len(content) < LARGE:
                arrival = arrival_of(json.loads(content))
            else:
                arrival = arrival_of(await anyio.to_thread.run_sync(json.loads, content))
        except (ValueError, RecursionError):
            arrival = None
        if arrival is None:
            return self._refused(connection_id, 400, "The body names no task and no batch.")
        new = await self._inbox.put(connection_id, arrival)
        self.outcomes["taken" if new else "repeated"] += 1
        log.debug("callback_taken", connection=connection_id, subject=arrival.subject, new=new)
        return JSONResponse({"ok": True})

    def _refused(self, connection_id: str, status: int, why: str) -> Response:
        self.outcomes["refused"] += 1
        self._say_refused(connection=one_line(connection_id, 60), status=status, why=why)
        return _answer(status, why)

    async def _body(self, request: Request) -> bytes | None:
        """The body, or None when there is more than is taken."""
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_body:
            return None
        content = bytearray()
        async for part in request.stream():
            content += part
            if len(content) > self._max_body:
                return None
        return bytes(content)


def arrival_of(body: Any) -> Arrival | None:
    """What a callback's body names: a task, or a batch. None for anything else."""
    if not isinstance(body, dict):
        return None
    try:
        if "task_id" in body or isinstance(body.get("task"), dict):
            task = _object(body.get("task"))
            task_id = _TASK_ID.validate_python(body.get("task_id", task.get("task_id")), strict=True)
            return Arrival("task", task_id, _text(body.get("status"), task.get("status")), _time(task, "updated_at"))
        batch = _object(body.get("batch"))
        name = _BATCH_NAME.validate_python(batch.get("name", body.get("name")), strict=True)
        return Arrival("batch", name, _text(body.get("status"), batch.get("status")), _time(batch, "completed_at"))
    except ValidationError:
        return None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(*values: Any) -> str:
    return next((one_line(value, 40) for value in values if isinstance(value, str)), "")


def _time(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return one_line(value, 60) if isinstance(value, str) and value else None


def _answer(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status_code=status, headers={"connection": "close"})
