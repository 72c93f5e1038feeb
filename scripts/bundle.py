"""Pack dist/scale-mcp-VERSION.mcpb, a zip that a host installs with one click. The same tree gives the same bytes.

What goes in is what `.mcpbignore` lets through, so that the official `mcpb pack` makes the same choice. The bundle's
pyproject.toml also pins every package to the version in requirements/run.lock, as the host resolves them with uv.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOP = ("manifest.json", "icon.png", "pyproject.toml", "README.md", "LICENSE")
OUTPUT = ROOT / "dist"
EPOCH = (1980, 1, 1, 0, 0, 0)


def members() -> list[Path]:
    package = (path for path in (ROOT / "scale_mcp").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [ROOT / name for name in TOP] + sorted(package)


def pinned_project() -> str:
    lock = (ROOT / "requirements" / "run.lock").read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.-]+==[^\s\\]+(?: ; [^\\\n]+?)?) *\\$", lock, re.M)
    constraints = "".join(f"  {json.dumps(pin)},\n" for pin in pins)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return f"{project}\n[tool.uv]\ndefault-groups = []\nconstraint-dependencies = [\n{constraints}]\n"


def pack() -> Path:
    version = json.loads((ROOT / "manifest.json").read_text(encoding="utf-8"))["version"]
    target = OUTPUT / f"scale-mcp-{version}.mcpb"
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as bundle:
        for path in members():
            name = path.relative_to(ROOT).as_posix()
            content = pinned_project().encode() if name == "pyproject.toml" else path.read_bytes()
            bundle.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED)
    return target


if __name__ == "__main__":
    packed = pack()
    print(f"{packed.relative_to(ROOT)}: {packed.stat().st_size // 1024} kB")
