"""Write requirements/*.lock with uv, or with --check see that they belong to pyproject.toml (which needs no network).

The locks carry hashes and versions for every platform, and name no index, so that they work with any mirror. The first
line of each holds a digest of the dependencies it was made from.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
GROUPS: dict[str, tuple[str, ...]] = {"run": ("build",), "dev": ("build", "dev"), "image": ("build",)}
EXTRAS: dict[str, tuple[str, ...]] = {"run": (), "image": ("hosted", "postgres", "telemetry", "fast")}
"""What of the extras a lock holds; ``dev`` holds all of them."""
DIGEST_LINE = "# made by `make lock` from dependencies with sha256 "


def direct_requirements(pyproject: dict[str, object], kind: str) -> list[str]:
    project, groups = pyproject["project"], pyproject["dependency-groups"]
    assert isinstance(project, dict)
    assert isinstance(groups, dict)
    wanted = list(project["dependencies"])
    extras: dict[str, list[str]] = project.get("optional-dependencies", {})
    for extra in EXTRAS.get(kind, tuple(extras)):
        wanted += extras[extra]
    for group in GROUPS[kind]:
        wanted += groups[group]
    return wanted


def digest(requirements: list[str], requires_python: str) -> str:
    return hashlib.sha256(json.dumps([sorted(requirements), requires_python]).encode()).hexdigest()


def pinned(lock: str) -> dict[str, str]:
    """Names and versions of the lock. A package with different versions for different platforms keeps the last."""
    return {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==([\w.!+-]+)", lock, re.M)}


def problems(kind: str, lock: str, requirements: list[str], requires_python: str) -> list[str]:
    path = f"requirements/{kind}.lock"
    found = []
    if lock.partition("\n")[0] != DIGEST_LINE + digest(requirements, requires_python):
        found.append(f"{path} was made from other dependencies than pyproject.toml has: run `make lock`")
    versions = pinned(lock)
    for requirement in map(Requirement, requirements):
        version = versions.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            found.append(f"{path} has {version or 'nothing'} for {requirement}: run `make lock`")
    if "://" in re.sub(r"^#.*", "", lock, flags=re.M):
        found.append(f"{path} names an address: locks name no index")
    return found


def write(kind: str, requirements: list[str], requires_python: str) -> None:
    path = ROOT / "requirements" / f"{kind}.lock"
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--generate-hashes",
        "--no-config",
    ]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--no-header", "--upgrade", "--no-annotate"]
    command += ["--python-version", re.sub(r"[^\d.]", "", requires_python), "pyproject.toml"]
    command += [f"--extra={extra}" for extra in EXTRAS[kind]] if kind in EXTRAS else ["--all-extras"]
    for group in GROUPS[kind]:
        command += ["--group", group]
    made = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    path.write_text(f"{DIGEST_LINE}{digest(requirements, requires_python)}\n{made}", encoding="utf-8")


def main(arguments: list[str]) -> int:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    requires_python = pyproject["project"]["requires-python"]
    found: list[str] = []
    for kind in GROUPS:
        requirements = direct_requirements(pyproject, kind)
        if "--check" not in arguments:
            write(kind, requirements, requires_python)
        lock = (ROOT / "requirements" / f"{kind}.lock").read_text(encoding="utf-8")
        found += problems(kind, lock, requirements, requires_python)
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
