"""Small cards of our own, one per risk and per way to fail, and a server over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import anyio

from scale_mcp.api.errors import RateLimited
from scale_mcp.server.build import build_server
from scale_mcp.server.connection import Connection, Kind
from scale_mcp.server.shortcut import ShortcutServer
from scale_mcp.settings import Settings, load_settings
from scale_mcp.tools.card import Call, Card, Risk, ToolFailure, ToolOutput, tool

CANARY = "live_canary0123456789abcdef"


class Said(ToolOutput):
    said: str

    def text(self) -> str:
        return f"Said {self.said}."


@dataclass
class FakeApi:
    """Stands where ScaleApi stands, and remembers what was done through it."""

    base_url: str = "https://api.scale.com/v1"
    mode: Literal["live", "test"] = "live"
    done: list[str] = field(default_factory=list)
    started: anyio.Event = field(default_factory=anyio.Event)
    cancelled: int = 0


@tool(title="Look at a thing", toolset="tasks", risk="read", keywords=("view",))
async def look(call: Call, *, name: str) -> Said:
    """Look at one thing. It stays as it is."""
    call.api.done.append(f"look {name}")  # type: ignore[attr-defined]
    return Said(said=name)


@tool(title="Change a thing", toolset="tasks", risk="write", idempotent=True)
async def change(call: Call, *, name: str, count: int = 1) -> Said:
    """Change one thing."""
    call.api.done.append(f"change {name}")  # type: ignore[attr-defined]
    return Said(said=name)


@tool(title="Pay for a thing", toolset="batches", risk="spend")
async def pay(call: Call, *, name: str) -> Said:
    """Pay people for one thing."""
    call.api.done.append(f"pay {name}")  # type: ignore[attr-defined]
    return Said(said=name)


@tool(
    title="Finalize a batch",
    toolset="batches",
    risk="spend",
    consequence="Paid work on the whole batch starts, and no task can be added to it afterwards.",
    final=True,
)
async def finalize_batch(call: Call, *, batch_name: str) -> Said:
    """Start the work on a batch."""
    call.api.done.append(f"finalize {batch_name}")  # type: ignore[attr-defined]
    return Said(said=batch_name)


@tool(title="Erase a thing", toolset="projects", risk="destroy")
async def erase(call: Call, *, name: str, reason: str = "") -> Said:
    """Erase one thing for good."""
    call.api.done.append(f"erase {name}")  # type: ignore[attr-defined]
    return Said(said=name)


def _milder_with_patch(arguments: Any) -> Risk:
    return "write" if arguments.patch else "destroy"


@tool(
    title="Set the parameters",
    toolset="projects",
    risk="destroy",
    risk_of=_milder_with_patch,
    consequence="Every other parameter is dropped.",
)
async def set_params(call: Call, *, name: str, patch: bool = False) -> Said:
    """Replace the parameters, or patch them."""
    call.api.done.append(f"set_params {name}")  # type: ignore[attr-defined]
    return Said(said=name)


@tool(title="Fail", toolset="files", risk="read")
async def fail(call: Call, *, how: Literal["expected", "crash", "scale", "validation", "recursion"]) -> Said:
    """Fail in one of several ways."""
    if how == "expected":
        raise ToolFailure("There is no such thing; look for another.")
    if how == "scale":
        raise RateLimited(
            'Scale answered 429: "slow down"', status=429, retryable=True, retry_after=7.0, request_id="req-1"
        )
    if how == "validation":
        Said.model_validate({"said": [CANARY]})
    if how == "recursion":
        raise RecursionError(CANARY)
    raise RuntimeError(f"secret detail {CANARY}")


@tool(title="Wait", toolset="files", risk="read")
async def wait(call: Call) -> Said:
    """Report progress, then wait for ever."""
    await call.progress(1, 2, "half")
    await call.progress(1, 2, "still half")
    await call.progress(2, 2, "all")
    call.api.started.set()  # type: ignore[attr-defined]
    try:
        await anyio.sleep_forever()
    finally:
        call.api.cancelled += 1  # type: ignore[attr-defined]


@tool(title="Say much", toolset="files", risk="read")
async def say(call: Call, *, text: str, times: int = 1) -> Said:
    """Say a text, many times over."""
    await call.progress(1, 1, "said")
    return Said(said=text * times)


ALL = (look, change, pay, finalize_batch, erase, set_params, fail, wait, say)
CARDS: dict[str, Card] = {card.name: card for card in ALL}


def settings(**overrides: Any) -> Settings:
    return load_settings(overrides)


def built(kind: Kind = "live", api: FakeApi | None = None, **overrides: Any) -> ShortcutServer:
    """A server over the small cards and a fake api."""
    return build_server(Connection(api or FakeApi(), kind), settings(**overrides), CARDS)  # type: ignore[arg-type]
