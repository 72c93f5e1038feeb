"""All measurements, one after the other, and one table of targets: what ``make bench`` runs.

    python bench/run.py [--quick] [--json] [--write docs/performance.md] [NAME …]

NAME is one of cold_start, calls, bulk, lists, sandbox, context; without any, all of them run. Each is a script of its
own that runs alone as well. A script that fails is said to have failed; a number that misses its target is shown.
``--write`` puts the tables into a document, too, between its two ``figures`` marks. Everything takes half an hour on
two cores, and about six minutes with --quick.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _common import ROOT, Figure, Report, Table, figures_table, machine, machine_line, options, say

SCRIPTS = ("cold_start", "calls", "bulk", "lists", "sandbox", "context")
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def run(name: str, quick: bool) -> Report | None:
    """One script's report; None when it failed, with its last words on stderr."""
    command = [sys.executable, str(ROOT / "bench" / f"{name}.py"), "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return None
    read: dict[str, Any] = json.loads(done.stdout)
    tables = [Table(**table) for table in read.pop("tables")]
    figures = [Figure(**figure) for figure in read.pop("figures")]
    return Report(**read, tables=tables, figures=figures)


def measure(quick: bool, names: list[str]) -> tuple[list[Report], list[str]]:
    reports, failed = [], []
    for name in names:
        say(f"== {name}")
        began = time.perf_counter()
        made = run(name, quick)
        say(f"== {name}: {time.perf_counter() - began:.0f} s")
        if made is None:
            failed.append(name)
        else:
            reports.append(made)
    return reports, failed


def text(reports: list[Report], failed: list[str], facts: dict[str, str], quick: bool) -> str:
    """All targets first, then every script's tables."""
    figures = [figure for made in reports for figure in made.figures]
    rough = " · quick run: small sizes, rough numbers" if quick else ""
    parts = [f"{machine_line(facts)}{rough}", "\n".join(figures_table(figures).lines()).strip()]
    parts += [f"{name} did not run to its end." for name in failed]
    for made in reports:
        parts.append(f"### {made.name}\n\n{made.what[:1].upper()}{made.what[1:]}.")
        parts += ["\n".join(table.lines()).strip() for table in made.tables]
        if made.notes:
            parts.append("\n".join(f"- {note}" for note in made.notes))
    return "\n\n".join(parts) + "\n"


def write(document: Path, figures: str) -> None:
    before, mark, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"{document} has no {BEGIN} … {END}.")
    document.write_text(f"{before}{BEGIN}\n\n{figures}\n{END}{after}", encoding="utf-8")


def more_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(SCRIPTS)}")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables into this document, too")


def main() -> None:
    chosen = options(__doc__ or "", more_options)
    if unknown := set(chosen.names) - set(SCRIPTS):
        raise SystemExit(f"There is no {', '.join(sorted(unknown))}. There are {', '.join(SCRIPTS)}.")
    facts = machine()
    reports, failed = measure(chosen.quick, chosen.names or list(SCRIPTS))
    for made in reports:
        facts |= made.machine | {name: facts[name] for name in ("date", "load")}
    figures = text(reports, failed, facts, chosen.quick)
    if chosen.write:
        write(chosen.write, figures)
    if chosen.json:
        found = {"reports": [asdict(made) for made in reports], "failed": failed}
        print(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        print(figures)


if __name__ == "__main__":
    main()
