"""Which tools a server offers: one object that answers the list and the call alike.

The filters apply in this order, each over the result of the one before:

1. ``toolsets`` (``all``, or names) plus the single ``tools``. With ``tools`` alone nothing else is taken;
   with neither, everything is.
2. ``exclude_tools`` removes, whatever named it.
3. ``read_only`` removes everything whose risk is not ``read``, whatever named it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scale_mcp.settings import Settings, SettingsError
from scale_mcp.tools.card import Card


@dataclass(frozen=True)
class Selection:
    """The offered cards in their fixed order. What is not in here does not exist for a client."""

    cards: Mapping[str, Card]

    def get(self, name: str) -> Card | None:
        return self.cards.get(name)


def select(cards: Mapping[str, Card], settings: Settings) -> Selection:
    """Apply the operator's filters. Raises ``SettingsError`` for a name nobody knows and for an empty outcome.

    A card that no filter has to look at is not loaded.
    """
    if not (settings.toolsets or settings.tools or settings.exclude_tools or settings.read_only):
        return Selection(cards)
    toolsets = {card.toolset for card in cards.values()}
    _all_known("toolset", settings.toolsets, {*toolsets, "all"})
    _all_known("tool", settings.tools, cards)
    _all_known("tool", settings.exclude_tools, cards)

    wanted = set(settings.toolsets) or (set() if settings.tools else {"all"})
    offered = {
        name: card
        for name, card in cards.items()
        if ("all" in wanted or card.toolset in wanted or name in settings.tools)
        and name not in settings.exclude_tools
        and (card.risk == "read" or not settings.read_only)
    }
    if not offered:
        raise SettingsError(
            "The selection leaves no tool. Widen --toolsets or --tools, or drop --exclude-tools or --read-only."
        )
    return Selection(offered)


def _all_known(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    """A misspelt name in a filter would silently offer too much or too little."""
    known = list(known)
    for name in names:
        if name not in known:
            closest = difflib.get_close_matches(name, known, n=1)
            cure = f"Did you mean {closest[0]}?" if closest else f"Known: {', '.join(sorted(known))}."
            raise SettingsError(f"There is no {kind} called {name[:80]!r}. {cure}")
