"""Rules over the tree that no linter knows. Each is a function that yields its breaches; `make check` runs them all."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONGEST_MODULE = 400

# Written in pieces, so that this file obeys its own rule.
REGISTRIES = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("registry", "npmjs", "org"))]
MACHINE_PATHS = [
    "/".join(("", *parts)) for parts in (("work", "main"), ("work", "shared"), ("root", ""), ("opt", "pypi"))
]
UNFINISHED = ["TO" + "DO", "FIX" + "ME", "X" + "XX"]


@cache
def texts() -> dict[str, str]:
    """Every tracked text file, by its path. Outside a checkout: every file of the tree that a package would hold."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        paths = [path for path in listing.stdout.split("\0") if path]
    else:
        paths = [
            str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts
        ]
    found = {}
    for path in paths:
        try:
            found[path] = (ROOT / path).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue
    return found


def modules(folder: str) -> dict[str, str]:
    return {path: text for path, text in texts().items() if path.startswith(f"{folder}/") and path.endswith(".py")}


def lines_with(needles: list[str], files: dict[str, str]) -> Iterator[str]:
    pattern = re.compile("|".join(rf"(?<![\w.]){re.escape(needle)}" for needle in needles))
    for path, text in files.items():
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: {match.group()!r}"


def modules_can_be_read_in_one_sitting() -> Iterator[str]:
    for path, text in modules("scale_mcp").items():
        length = text.count("\n")
        if length > LONGEST_MODULE:
            yield f"{path}: {length} lines, {LONGEST_MODULE} at most"


def nothing_names_a_machine_or_a_package_registry() -> Iterator[str]:
    yield from lines_with([*REGISTRIES, *MACHINE_PATHS], texts())


def nothing_is_left_unfinished() -> Iterator[str]:
    yield from lines_with(UNFINISHED, modules("scale_mcp"))


def no_text_holds_invisible_characters() -> Iterator[str]:
    """What a reader cannot see is written as an escape. Tests may hold the joiners and tags that emoji are made of."""
    for path, text in texts().items():
        if text.isascii():
            continue
        hidden = {char for char in set(text) if unicodedata.category(char) == "Cf"}
        if path.startswith("tests/"):
            hidden = {
                char for char in hidden if char not in "\u200c\u200d" and not "\U000e0020" <= char <= "\U000e007f"
            }
        if hidden:
            yield f"{path}: {', '.join(sorted(f'U+{ord(char):04X}' for char in hidden))}"


def versions_agree() -> Iterator[str]:
    version = tomllib.loads(texts()["pyproject.toml"])["project"]["version"]
    newest = re.search(r"^## (\d\S*)", texts()["CHANGELOG.md"], re.M)
    registry = json.loads(texts()["server.json"])
    stated = {
        "CHANGELOG.md": newest and newest[1],
        "manifest.json": json.loads(texts()["manifest.json"])["version"],
        "server.json": registry["version"],
        "server.json's package": registry["packages"][0]["version"],
    }
    for place, other in stated.items():
        if other != version:
            yield f"pyproject.toml says {version}, {place} says {other}"


RULES: list[Callable[[], Iterator[str]]] = [
    modules_can_be_read_in_one_sitting,
    nothing_names_a_machine_or_a_package_registry,
    nothing_is_left_unfinished,
    no_text_holds_invisible_characters,
    versions_agree,
]


def main() -> int:
    broken = 0
    for rule in RULES:
        for breach in rule():
            broken += 1
            print(f"{rule.__name__.replace('_', ' ')}: {breach}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
