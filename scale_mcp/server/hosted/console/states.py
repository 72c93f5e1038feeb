"""States in words. ``tone`` only colours what the words say: good, wait, bad or idle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from scale_mcp.hosting.audit.search import UNKNOWN
from scale_mcp.hosting.clock import stamp

if TYPE_CHECKING:
    from scale_mcp.hosting.connection_records import ConnectionRecord, KeyRecord
    from scale_mcp.hosting.health import StoredHealth

Tone = Literal["good", "wait", "bad", "idle"]

NO_FAULT = frozenset(
    {"asked", "awaiting_approval", "cancelled", "abandoned"}
)  # ends of calls that nothing is wrong with
OUTDATED = timedelta(minutes=10)  # a state that was written before may be that of a server that is no more
CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")  # in the name of an error: NotFound


@dataclass(frozen=True)
class State:
    words: str
    tone: Tone


def of_outcome(outcome: str) -> State:
    if outcome == "ok":
        return State("ok", "good")
    if outcome == UNKNOWN:
        return State("no outcome yet", "wait")
    words = CAPITAL.sub(" ", outcome).replace("_", " ").lower()
    return State(words, "wait" if outcome in NO_FAULT else "bad")


def of_key(key: KeyRecord, health: Sequence[StoredHealth], now: datetime) -> State:
    """How a key fares, by what all replicas wrote about it."""
    cooling = [row.cooling_until for row in health if row.cooling_until is not None and row.cooling_until > stamp(now)]
    if cooling:
        where = f" on {len(cooling)} of {len(health)} servers" if len(health) > 1 else ""
        return State(f"cooling until {max(cooling)[11:19]}{where}", "wait")
    lately = {row.state for row in health if row.updated_at > stamp(now - OUTDATED)}
    if "refused" in lately or key.last_status == "refused":
        return State("refused by Scale", "bad")
    if "probation" in lately:
        return State("on probation", "wait")
    if key.last_status == "failed":
        return State("last answer failed", "bad")
    if key.last_used_at is None:
        return State("not used yet", "idle")
    return State("ready", "good")


def of_connection(record: ConnectionRecord, keys: Sequence[State]) -> State:
    """How a connection fares, by how its active keys do."""
    troubled = [state for state in keys if state.tone in ("wait", "bad")]
    if not keys:
        return State("no key", "bad")
    if not troubled:
        unused = all(state.tone == "idle" for state in keys)
        return State("not used yet", "idle") if unused else State("healthy", "good")
    trouble = "in trouble" if any(state.tone == "bad" for state in troubled) else "limited by Scale"
    if len(troubled) < len(keys):
        return State(f"{len(troubled)} of {len(keys)} keys {trouble}", "wait")
    return State(trouble, "bad" if trouble == "in trouble" else "wait")
