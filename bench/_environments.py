"""Environments of the contestants' own, outside of the tree: made on first use, kept for the next.

They lie in ``$SCALE_MCP_BENCH_DIR``, else in ``~/.cache/scale-mcp-bench``; removing that folder is all there is to
cleaning up. uv makes them where there is one, else venv and pip; npm's packages need npm.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from _common import ROOT, say

HOME = Path(os.environ.get("SCALE_MCP_BENCH_DIR") or Path.home() / ".cache" / "scale-mcp-bench")

FASTMCP = ("fastmcp>=4,<5",)  # the newest 4.x whose dependencies are to be had
AIOHTTP = ("aiohttp>=3.12,<4",)
SCALEAPI = ("scaleapi==2.18.4",)
TYPESCRIPT = ("@modelcontextprotocol/server@2.4.0",)
TOKENIZER = ("gpt-tokenizer@4.0.0",)


class Unavailable(Exception):
    """A contestant cannot be had here; the text says why."""


@cache
def python_of(name: str, *requirements: str) -> str:
    """A Python that has these packages. Raises Unavailable when they cannot be installed."""
    known = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()[:10]
    place = HOME / f"{name}-{known}"
    python = place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not (place / "complete").exists():
        say(f"Making an environment for {name} in {place} …")
        shutil.rmtree(place, ignore_errors=True)
        HOME.mkdir(parents=True, exist_ok=True)
        uv = _uv()
        if uv:
            _run([*uv, "venv", "--quiet", "--python", sys.executable, str(place)])
            _run([*uv, "pip", "install", "--quiet", "--python", str(python), "--compile-bytecode", *requirements])
        else:
            _run([sys.executable, "-m", "venv", str(place)])
            _run([str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *requirements])
        (place / "complete").touch()
    return str(python)


def ours(*extras: str) -> str:
    """A Python with this project and what it needs to run, nothing else, as a user would have it.

    Raises Unavailable when the project has no such extra.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    if missing := set(extras) - set(project.get("optional-dependencies", {})):
        raise Unavailable(f"the project has no extra {', '.join(sorted(missing))}")
    lock = ROOT / "requirements" / "run.lock"
    state = [repr(project), lock.read_text()]
    label = hashlib.sha256("".join(state).encode()).hexdigest()[:6]
    wanted = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    return python_of("-".join(["ours", *extras, label]), "--constraint", str(_pins(lock)), "--editable", wanted)


def _pins(lock: Path) -> Path:
    """The lock as constraints: versions without hashes, which editable projects cannot have."""
    lines = [line.split("\\")[0].strip() for line in lock.read_text().splitlines() if "==" in line[:80]]
    HOME.mkdir(parents=True, exist_ok=True)
    pins = HOME / "ours-constraints.txt"
    pins.write_text("\n".join(line for line in lines if not line.startswith("#")) + "\n")
    return pins


@cache
def node_modules(name: str, *packages: str) -> Path:
    """A folder with ``node_modules``. Raises Unavailable without Node, or when npm cannot install."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise Unavailable("Node and npm are not installed")
    known = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:10]
    place = HOME / f"npm-{name}-{known}"
    if not (place / "complete").exists():
        say(f"Installing {', '.join(packages)} in {place} …")
        place.mkdir(parents=True, exist_ok=True)
        (place / "package.json").write_text('{"private": true}')
        _run(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(place), *packages])
        (place / "complete").touch()
    return place


def versions_of(python: str, *packages: str) -> str:
    """``name version`` of packages in another environment."""
    code = "import sys, importlib.metadata as m; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=', ')"
    return subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=True).stdout.strip()


def _uv() -> list[str]:
    if os.environ.get("NO_UV"):
        return []
    if find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    return [found] if (found := shutil.which("uv")) else []


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise Unavailable(" ".join(last) or f"{command[0]} ended with {done.returncode}")
