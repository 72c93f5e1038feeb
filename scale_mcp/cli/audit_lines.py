"""How rows of the trail look in a terminal, and how a person writes a moment."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from scale_mcp.cli.console import Exit, say, stop
from scale_mcp.text import one_line

if TYPE_CHECKING:
    from scale_mcp.hosting.audit.search import Row
    from scale_mcp.hosting.audit.verification import Verification

LONGEST_DETAIL = 160
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
TOLD = {"entry", "persona", "persona_id", "user", "tool", "actor", "outcome", "connection"}


def line_of(row: Row) -> str:
    """One line: when, number, kind, who, and what there is to say. Nothing in it controls the terminal."""
    content = row.content
    who = _text(content.get("persona")) or _text(content.get("actor")) or "-"
    if user := _text(content.get("user")):
        who = f"{who} ({user})"
    detail = {"call.intent": _intent, "call.outcome": _outcome}.get(row.kind, _change)(content)
    return f"{row.time[:19].replace('T', ' ')}  {row.seq:>6}  {row.kind:<18} {who:<16} {detail}".rstrip()


def moment_of(text: str) -> datetime:
    """The moment that a person means: a day, a day and a time (UTC where no zone is given), or an age."""
    if age := re.fullmatch(r"(\d{1,6})([mhdw])", text.strip()):
        return datetime.now(UTC) - timedelta(**{UNITS[age[2]]: int(age[1])})
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        stop(Exit.USAGE, f"{text[:60]!r} is no moment. Write 2026-11-22, 2026-11-22T09:30, or an age as 90m, 12h, 7d.")
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def say_open_calls(found: Verification) -> None:
    """Calls without an outcome are no fault of the chain, but somebody should know."""
    if not found.open_count:
        return
    one = found.open_count == 1
    say(
        f"{found.open_count:,} call{' has' if one else 's have'} no outcome: "
        f"{'it runs' if one else 'they run'} at this moment, or the process was killed."
    )
    for call in found.open_calls[:10]:
        say(f"  {call.time[:19].replace('T', ' ')}  {call.seq:>6}  {call.persona or '-'}  {call.tool}  {call.entry}")


def _intent(content: dict[str, Any]) -> str:
    reason = _text(content.get("reason"))
    shown = f"{_text(content.get('tool'))} {_json(content.get('arguments'))}"
    return one_line(f"{shown}  “{reason}”" if reason else shown, LONGEST_DETAIL)


def _outcome(content: dict[str, Any]) -> str:
    parts = [_text(content.get("tool")), _text(content.get("outcome"))]
    if connection := _text(content.get("connection")):
        parts.append(f"via {connection}")
    if decisions := content.get("decisions"):
        last = decisions[-1] if isinstance(decisions, list) else None
        if isinstance(last, dict):
            parts.append(f"{_text(last.get('decision'))}: {_text(last.get('why'))}".rstrip(": "))
    if isinstance(latency := content.get("latency_ms"), int | float):
        parts.append(f"{latency:.0f} ms")
    return one_line(", ".join(part for part in parts if part), LONGEST_DETAIL)


def _change(content: dict[str, Any]) -> str:
    rest = {name: value for name, value in content.items() if name not in TOLD and value not in (None, "", [], {})}
    by = f"by {_text(content['actor'])}  " if content.get("persona") and content.get("actor") else ""
    return one_line(f"{by}{_json(rest)}" if rest else by, LONGEST_DETAIL)


def _text(value: Any) -> str:
    return one_line(value, 60) if isinstance(value, str) else ""


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False) if value else ""
