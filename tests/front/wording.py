"""Messages as a client writes them, one JSON-RPC message per line."""

from __future__ import annotations

import json
from typing import Any

LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = "2026-07-28"
META = "io.modelcontextprotocol/"
CLIENT = {"name": "client", "version": "1"}
ENVELOPE = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {}}
LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")


def line(message: Any) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def request(method: str, number: Any = 1, **params: Any) -> bytes:
    return line({"jsonrpc": "2.0", "id": number, "method": method, **({"params": params} if params else {})})


def modern(method: str, number: Any = 1, meta: dict[str, Any] | None = None, **params: Any) -> bytes:
    return request(method, number, **params, _meta={**ENVELOPE, **(meta or {})})


def hello(version: str = "2025-11-25", number: Any = 0, **changes: Any) -> bytes:
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT, **changes}
    return request("initialize", number, **{name: value for name, value in params.items() if value is not ...})


READY = line({"jsonrpc": "2.0", "method": "notifications/initialized"})
HANDSHAKE = hello() + READY
