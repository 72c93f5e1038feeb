"""What one process has answered since it began: plain numbers, which cost a call next to nothing.

Every label is of a bounded kind: tools of the registry, personas of the store, words of the code. What a caller made up
is never one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from scale_mcp.tools.registry import hosted_cards

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)  # seconds
NO_TOOL = "(no such tool)"


@dataclass
class Durations:
    """How long calls took: how many by the first bound that they stayed within, and seconds in all."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


@dataclass
class Tally:
    """Calls of tools, and reads that count as such. ``outcome`` is the word that the trail has for it."""

    in_flight: int = 0
    by_tool: Counter[tuple[str, str]] = field(default_factory=Counter)  # tool and outcome
    by_persona: Counter[tuple[str, str]] = field(default_factory=Counter)  # persona and outcome
    seconds: dict[str, Durations] = field(default_factory=dict)  # by tool

    def begun(self) -> None:
        self.in_flight += 1

    def ended(self, persona: str, tool: str, outcome: str, seconds: float) -> None:
        """A call that had begun is over."""
        self.in_flight -= 1
        tool = tool if tool in hosted_cards() else NO_TOOL
        self.by_tool[tool, outcome] += 1
        self.by_persona[persona, outcome] += 1
        durations = self.seconds.get(tool)
        if durations is None:
            durations = self.seconds[tool] = Durations()
        durations.add(seconds)
