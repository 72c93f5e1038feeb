"""What a persona may use. Nothing is allowed that no scope or tool of it names, and a denial wins over everything.

A scope is ``<toolset>:<risk>``; either may be ``*``, and ``*`` alone is everything. It grants exactly that risk:
``batches:read`` lets nobody finalize a batch.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from scale_mcp.tools.card import RISKS, Risk, Toolset

if TYPE_CHECKING:
    from scale_mcp.hosting.personas import Persona

TOOLSETS: tuple[str, ...] = typing.get_args(Toolset)


def allows(persona: Persona, card_name: str, toolset: str, risk: Risk) -> bool:
    """Whether the persona may use this tool. The same answer decides what is listed and what is refused."""
    if persona.disabled or (persona.read_only and risk != "read"):
        return False
    if any(entry == card_name or covers(entry, toolset, risk) for entry in persona.deny):
        return False
    return card_name in persona.tools or any(covers(scope, toolset, risk) for scope in persona.scopes)


def covers(scope: str, toolset: str, risk: str) -> bool:
    """Whether a scope is about a tool of this toolset and risk. A text that is no scope is about nothing."""
    if scope == "*":
        return True
    of_toolset, colon, of_risk = scope.partition(":")
    return bool(colon) and of_toolset in (toolset, "*") and of_risk in (risk, "*")


def problems_with_scopes(scopes: Iterable[str]) -> Iterator[str]:
    """A sentence for each entry that is no scope."""
    for scope in scopes:
        toolset, colon, risk = scope.partition(":")
        if scope == "*" or (colon and toolset in (*TOOLSETS, "*") and risk in (*RISKS, "*")):
            continue
        known = [f"{toolset}:{risk}" for toolset in (*TOOLSETS, "*") for risk in (*RISKS, "*")]
        yield f"{scope[:80]!r} is not a scope.{_meant(scope, known)} Write <toolset>:<risk>, such as tasks:read."


def problems_with_tools(names: Iterable[str]) -> Iterator[str]:
    """A sentence for each name that no tool has."""
    from scale_mcp.tools.registry import hosted_cards

    known = hosted_cards()
    for name in names:
        if name not in known:
            yield f"There is no tool called {name[:80]!r}.{_meant(name, known)}"


def problems_with_denials(entries: Iterable[str]) -> Iterator[str]:
    """A sentence for each entry that is neither a tool nor a scope: what denies nothing would let all through."""
    for entry in entries:
        yield from (problems_with_scopes if ":" in entry or entry == "*" else problems_with_tools)([entry])


def _meant(name: str, known: Iterable[str]) -> str:
    closest = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {closest[0]}?" if closest else ""
