"""All measurements, one after the other, and one table of targets: what ``make bench`` runs.

    python bench/run.py [--quick] [--json] [NAME …]

NAME is one of cold_start, calls, bulk, lists, sandbox, context; without any, all of them run. Each is a script of its
own that runs alone as well. A script that fails is said to have failed; a number that misses its target is shown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any

from _common import ROOT, Figure, Report, Table, figures_table, machine_line, options, report, say

SCRIPTS = ("cold_start", "calls", "bulk", "lists", "sandbox", "context")


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


def main() -> None:
    def names(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(SCRIPTS)}")

    chosen = options(__doc__ or "", names)
    if unknown := set(chosen.names) - set(SCRIPTS):
        raise SystemExit(f"There is no {', '.join(sorted(unknown))}. There are {', '.join(SCRIPTS)}.")
    began = report("bench", "everything", quick=chosen.quick)
    reports, failed = measure(chosen.quick, chosen.names or list(SCRIPTS))
    if chosen.json:
        print(
            json.dumps({"reports": [asdict(made) for made in reports], "failed": failed}, ensure_ascii=False, indent=1)
        )
        return
    for made in reports:
        made.figures, figures = [], made.figures
        made.show(as_json=False)
        print()
        made.figures = figures
    print("# All targets\n")
    print(machine_line(began.machine) + (" · quick run: numbers are rough, sizes small" if chosen.quick else ""))
    print("\n".join(figures_table([figure for made in reports for figure in made.figures]).lines()))
    for name in failed:
        print(f"\n{name} did not run to its end; see above.")


if __name__ == "__main__":
    main()
