"""The record of what was simulated: which truth, which worker, and every mistake put in."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from scale_mcp.sandbox.facts import Truth
from scale_mcp.sandbox.workforce import REVIEW_CATCHES, Worker

LISTED = 200  # mistakes of one kind that are spelt out; beyond that only their number is kept


class Report:
    """Filled while an answer is made; ``summary`` is what the sandbox shows beside the task."""

    def __init__(self, truth: Truth | None, worker: Worker) -> None:
        self._truth, self._worker = truth, worker
        self._used = False
        self._mistakes: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._counts: dict[str, int] = defaultdict(int)
        self._notes: dict[str, Any] = {}
        self._overlaps: list[float] = []
        self._matches: list[dict[str, Any]] = []

    def use_truth(self) -> None:
        """The truth had something to say about this kind of task."""
        self._used = True

    def mistake(self, kind: str, **facts: Any) -> None:
        """One injected mistake, e.g. ``mistake("missed", truth="coin-3", label="coin")``."""
        self._counts[kind] += 1
        if len(self._mistakes[kind]) < LISTED:
            self._mistakes[kind].append(facts)

    def match(self, annotation: str, truth: str, **facts: Any) -> None:
        """Which true object an annotation came from, with how well it fits (``iou``) where that is defined."""
        if isinstance(facts.get("iou"), float):
            self._overlaps.append(facts["iou"])
            facts["iou"] = round(facts["iou"], 4)
        if len(self._matches) < LISTED:
            self._matches.append({"annotation": annotation, "truth": truth, **facts})
        self._counts["matched"] += 1

    def note(self, name: str, value: Any) -> None:
        """Something to know that is not a mistake, e.g. labels of the task that the truth does not know."""
        if isinstance(value, list):
            kept = self._notes.setdefault(name, [])
            kept.extend(one for one in value if one not in kept)
        else:
            self._notes[name] = value

    def summary(self) -> dict[str, Any]:
        if self._truth is None or not self._used:
            reason = "Nothing is known about this task's material, so nothing was annotated."
            if self._truth is not None:
                reason = "What is known about this task's material does not answer this type of task."
            return {"truth": "none", "worker": self._worker.email, "note": reason, **self._notes}
        said: dict[str, Any] = {"truth": self._truth.source, "worker": self._worker.email}
        if self._truth.name:
            said["fixture"] = self._truth.name
        said |= {
            "skill": self._worker.skill,
            "noise": self._worker.noise.stated(),
            "review_catches": REVIEW_CATCHES,
            "matched": self._counts.pop("matched", 0),
            "mistakes": dict(self._counts),
            "injected": {kind: list(facts) for kind, facts in self._mistakes.items()},
            "matches": self._matches,
        }
        if self._overlaps:
            said["mean_iou"] = round(sum(self._overlaps) / len(self._overlaps), 4)
        return said | self._notes
