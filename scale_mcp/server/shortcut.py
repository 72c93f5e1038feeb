"""A short way for plain tool calls: the SDK's answer, without the SDK's machinery on the way to it.

Most calls need nothing of the connection they came on: no progress is reported, no person asked, nothing handed back
half-way. The transports bring such a call here, and send the answer themselves. It is checked by the SDK's own models
and runs at the same desk as any other, so that limits, results, time and log are the same. What is not recognised to
its last key goes the SDK's way; tests compare the answers of both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mcp.types as t
from mcp import MCPError
from mcp.server.lowlevel import Server
from mcp.shared.inbound import InboundModernRoute, classify_inbound_request
from mcp.types.methods import validate_client_request
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from scale_mcp.server.calls import CallAnswer
from scale_mcp.server.guard import internal_error
from scale_mcp.server.request_ids import named
from scale_mcp.server.seats import Seat
from scale_mcp.server.surface import ToolSurface
from scale_mcp.tools.card import Card

if TYPE_CHECKING:
    from scale_mcp.server.telemetry import Outcome, Telemetry

METHOD = "tools/call"
PLAIN_KEYS = frozenset({"name", "arguments", "_meta"})
PROTOCOL = "io.modelcontextprotocol/"  # begins the keys of ``_meta`` that mean something to the protocol
ENVELOPE = frozenset({t.PROTOCOL_VERSION_META_KEY, t.CLIENT_CAPABILITIES_META_KEY, t.CLIENT_INFO_META_KEY})
NOT_IN_THE_HANDSHAKE_ERA = {"result_type"}

FindSeat = Callable[[Mapping[str, Any] | None], Seat | None]


@dataclass(frozen=True, slots=True)
class PlainCall:
    """A call that takes the short way."""

    id: t.RequestId
    params: t.CallToolRequestParams
    card: Card
    tools: ToolSurface
    signature: Mapping[str, Any] | None  # joins the result's ``_meta``, from 2026-07-28 on
    version: str  # of the protocol
    telemetry: Telemetry | None = None

    async def answer(self) -> tuple[bytes, int]:
        """The whole JSON-RPC message, and the code of the error that it is; 0 for a result."""
        if self.telemetry is None:
            return await self._answer(None)
        named = {"name": self.card.name}
        with self.telemetry.operation(METHOD, named, self.params.meta, self.version, self.id) as outcome:
            return await self._answer(outcome)

    async def _answer(self, outcome: Outcome | None) -> tuple[bytes, int]:
        try:
            result = await self.tools.on_plain_call(self.params, self.card)
            if outcome is not None:
                outcome.returned(result)
            return self._message(result), 0
        except MCPError as error:
            failure = error.error
        except Exception:
            failure = internal_error(METHOD).error
        if outcome is not None:
            outcome.refused(failure.code)
        return refusal(self.id, failure), failure.code

    def _message(self, result: CallAnswer) -> bytes:
        if self.signature is not None:
            result.meta = {**(result.meta or {}), **self.signature}
        left_out = None if self.signature is not None else NOT_IN_THE_HANDSHAKE_ERA
        written = result.model_dump_json(by_alias=True, exclude_none=True, exclude=left_out)
        identity = self.id if type(self.id) is int else json.dumps(self.id, ensure_ascii=False)
        return f'{{"jsonrpc":"2.0","id":{identity},"result":{written}}}'.encode()


class Shortcut:
    """Tells which requests are plain calls. ``find_seat`` gives the seat of a request's caller by its ASGI scope.

    Where it gives None, all of a caller's requests go the SDK's way. There is no scope on stdio.
    """

    def __init__(self, server: Server[Any], find_seat: FindSeat) -> None:
        self._find_seat = find_seat
        self._signature = {t.SERVER_INFO_META_KEY: server.server_info_stamp}
        self.telemetry: Telemetry | None = None

    def plain_call(
        self,
        request: t.JSONRPCRequest,
        version: str,
        scope: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> PlainCall | None:
        """The call that this request is, in the protocol version that was agreed on; None for the SDK to answer it.

        ``headers``, with lower-case names, are compared with the request where its version asks for that.
        """
        params = request.params
        if request.method != METHOD or params is None or not params.keys() <= PLAIN_KEYS:
            return None
        meta = params.get("_meta", {})
        if type(meta) is not dict or "progressToken" in meta:
            return None
        modern = version in MODERN_PROTOCOL_VERSIONS
        if not modern and version not in HANDSHAKE_PROTOCOL_VERSIONS:
            return None
        if any(key.startswith(PROTOCOL) and not (modern and key in ENVELOPE) for key in meta):
            return None
        name, seat = params.get("name"), self._find_seat(scope)
        card = seat.tools.plain_card(name) if seat is not None and type(name) is str else None
        if seat is None or card is None:
            return None
        if modern and not _is_modern({"method": METHOD, "params": params}, headers):
            return None
        try:
            validate_client_request(METHOD, version, params)
            checked = t.CallToolRequestParams.model_validate(params, by_name=False)
        except ValidationError:
            return None
        signature = self._signature if modern else None
        return PlainCall(request.id, checked, card, seat.tools, signature, version, self.telemetry)


class ShortcutServer(Server[Any]):
    """The SDK's server, and the short way past it where there is one."""

    shortcut: Shortcut | None = None
    _telemetry: Telemetry | None = None

    def observe(self, telemetry: Telemetry) -> None:
        """Have every message from now on observed, whichever way it takes."""
        self._telemetry = telemetry
        self.middleware.insert(0, telemetry)
        if self.shortcut is not None:
            self.shortcut.telemetry = telemetry

    async def run(self, *streams: Any, **options: Any) -> None:
        """Serve one connection, as the SDK does."""
        if self._telemetry is None:
            await super().run(*streams, **options)
            return
        with self._telemetry.session():
            await super().run(*streams, **options)


def shortcut_of(server: Server[Any]) -> Shortcut | None:
    """The short way past this server, where there is one."""
    return server.shortcut if isinstance(server, ShortcutServer) else None


def refusal(identity: t.RequestId, error: t.ErrorData) -> bytes:
    """An error's JSON-RPC message."""
    written = t.JSONRPCError(jsonrpc="2.0", id=identity, error=named(error))
    return written.model_dump_json(by_alias=True, exclude_unset=True).encode()


def _is_modern(message: Mapping[str, Any], headers: Mapping[str, str] | None) -> bool:
    """Whether envelope and headers are in order, by the SDK's own rules for 2026-07-28."""
    return isinstance(classify_inbound_request(message, headers=headers), InboundModernRoute)
