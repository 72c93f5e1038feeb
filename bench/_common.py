"""What every bench script has in common: options, what machine this is, fair turns, and a report as table or JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench" / "peers"
KEY = "live_bench"
T = TypeVar("T")


def options(description: str, add: Callable[[argparse.ArgumentParser], Any] | None = None) -> argparse.Namespace:
    """The flags that all scripts share, and those that ``add`` adds."""
    parser = argparse.ArgumentParser(description=description.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="about a minute: fewer rounds, smaller numbers")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    if add is not None:
        add(parser)
    return parser.parse_args()


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------------------------ numbers


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else float("nan")


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def ms(seconds: float) -> str:
    """A time in milliseconds, with as many digits as say something."""
    value = seconds * 1000
    return (
        "–" if value != value else f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    )


def count(value: float) -> str:
    return "–" if value != value else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def times(ratio: float) -> str:
    return "–" if ratio != ratio else f"{ratio:.2f} ×"


def ratio(one: float, other: float) -> float:
    """``one / other``, not a number when there is nothing to compare with."""
    return one / other if other else float("nan")


def turns(contestants: Sequence[T], rounds: int) -> Iterator[T]:
    """Everybody once per round, each round starting with another one, so that a slow moment hits all alike."""
    for number in range(rounds):
        start = number % len(contestants)
        yield from [*contestants[start:], *contestants[:start]]


# ------------------------------------------------------------------------------------------------------------- report


@dataclass
class Table:
    title: str
    head: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        self.rows.append([str(cell) for cell in cells])

    def lines(self) -> list[str]:
        """Markdown, aligned, so that it can be read as it is and pasted into a document."""
        widths = [max(len(row[column]) for row in [self.head, *self.rows]) for column in range(len(self.head))]

        def line(cells: list[str]) -> str:
            first, *rest = zip(cells, widths, strict=True)
            return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]) + " |"

        rule = "| " + " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]) + " |"
        return ["", f"**{self.title}**", "", line(self.head), rule, *(line(row) for row in self.rows)]


@dataclass
class Figure:
    """One number with its target. ``met`` is None when it could not be measured."""

    what: str
    target: str
    measured: str
    met: bool | None


@dataclass
class Report:
    """What a script has measured, on what, and what follows for the targets."""

    name: str
    what: str
    quick: bool
    machine: dict[str, str]
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)  # the numbers behind the tables

    def table(self, title: str, *head: str) -> Table:
        made = Table(title, list(head))
        self.tables.append(made)
        return made

    def at_most(self, what: str, limit: float, value: float, unit: str = " ×") -> None:
        self._figure(what, "≤", limit, value, unit)

    def at_least(self, what: str, limit: float, value: float, unit: str = " ×") -> None:
        self._figure(what, "≥", limit, value, unit)

    def _figure(self, what: str, sign: str, limit: float, value: float, unit: str) -> None:
        known = value == value
        good = (value <= limit if sign == "≤" else value >= limit) if known else None
        digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
        self.figures.append(Figure(what, f"{sign} {limit:,g}{unit}", f"{digits}{unit}" if known else "–", good))

    def note(self, text: str) -> None:
        self.notes.append(text)

    def show(self, *, as_json: bool) -> None:
        if as_json:
            print(json.dumps(asdict(self), ensure_ascii=False, indent=1))
            return
        print(f"# {self.name}: {self.what}")
        print("\n" + machine_line(self.machine) + (" · quick run" if self.quick else ""))
        for table in self.tables:
            print("\n".join(table.lines()))
        if self.notes:
            print()
        for note in self.notes:
            print(f"- {note}")
        if self.figures:
            print("\n".join(figures_table(self.figures).lines()))


def figures_table(figures: Sequence[Figure], title: str = "Targets") -> Table:
    table = Table(title, ["figure", "to reach", "measured", "reached"])
    for figure in figures:
        table.add(figure.what, figure.target, figure.measured, {True: "yes", False: "no", None: "?"}[figure.met])
    return table


def report(name: str, what: str, *, quick: bool, **versions: str) -> Report:
    return Report(name, what, quick, machine() | versions)


# ------------------------------------------------------------------------------------------------------------ machine


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "?",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "scale-mcp": f"{_version('scale-mcp')} ({_commit()})",
        "mcp": _version("mcp"),
        "httpx2": _version("httpx2"),
        "pydantic": _version("pydantic"),
    }


def machine_line(facts: dict[str, str]) -> str:
    facts = dict(facts)
    place = f"{facts.pop('date')} · {facts.pop('cpu')}, {facts.pop('cores')} cores (load {facts.pop('load')} before)"
    return f"{place} · {facts.pop('system')} · " + ", ".join(f"{name} {value}" for name, value in facts.items())


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """The commit, with a mark when the package's own files differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "no commit") + (
        " and changes" if git("status", "--porcelain", "--", "scale_mcp") else ""
    )
