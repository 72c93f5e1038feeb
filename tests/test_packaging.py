"""What is shipped: the bundle for hosts, the registry's entry, the locks, and the set-up on a bare machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import bundle
import locks
from scale_mcp.settings import Settings, load_settings, variable
from scale_mcp.tools.registry import cards

ROOT = Path(__file__).resolve().parent.parent


def read_json(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / name).read_text(encoding="utf-8"))
    return content


@pytest.fixture
def manifest() -> dict[str, Any]:
    return read_json("manifest.json")


@pytest.fixture
def server_json() -> dict[str, Any]:
    return read_json("server.json")


def test_the_manifest_lists_every_tool_in_order(manifest):
    assert [tool["name"] for tool in manifest["tools"]] == list(cards())
    assert all(set(tool) == {"name", "description"} and tool["description"] for tool in manifest["tools"])


def test_the_key_is_asked_for_as_a_secret_and_may_stay_empty(manifest):
    assert manifest["user_config"]["api_key"]["sensitive"] is True
    assert manifest["user_config"]["api_key"]["required"] is False


def test_every_variable_of_the_manifest_is_a_setting_and_every_question_is_used(manifest):
    env = manifest["server"]["mcp_config"]["env"]
    asked = {match for value in env.values() for match in re.findall(r"\$\{user_config\.(\w+)\}", value)}

    assert set(env) <= {variable(field) for field in Settings.model_fields}
    assert asked == set(manifest["user_config"])


def test_what_a_host_fills_in_when_nothing_was_answered_is_accepted(manifest, monkeypatch):
    for name, value in manifest["server"]["mcp_config"]["env"].items():
        question = manifest["user_config"][value.removeprefix("${user_config.").removesuffix("}")]
        default = question["default"]
        monkeypatch.setenv(name, str(default).lower() if isinstance(default, bool) else default)

    settings = load_settings({})

    assert settings.api_key is None
    assert not settings.sandbox


def test_the_icon_has_the_size_that_hosts_recommend(manifest):
    with Image.open(ROOT / manifest["icon"]) as icon:
        assert (icon.format, icon.size) == ("PNG", (512, 512))


def test_the_bundle_holds_what_running_needs_and_nothing_else():
    names = [path.relative_to(ROOT).as_posix() for path in bundle.members()]

    assert {"manifest.json", "icon.png", "pyproject.toml", "README.md", "LICENSE"} < set(names)
    assert "scale_mcp/__main__.py" in names
    assert not [name for name in names if "/" in name and not name.startswith("scale_mcp/")]
    assert not [name for name in names if name.endswith((".pyc", ".db"))]


def test_the_bundle_is_the_same_bytes_each_time(tmp_path, monkeypatch):
    def pack(folder: str) -> bytes:
        monkeypatch.setattr(bundle, "OUTPUT", tmp_path / folder)
        return bundle.pack().read_bytes()

    assert pack("one") == pack("two")


def test_the_bundle_pins_the_locked_versions(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "OUTPUT", tmp_path)
    with zipfile.ZipFile(bundle.pack()) as packed:
        project = tomllib.loads(packed.read("pyproject.toml").decode())

    pins = {pin.partition("==")[0]: pin.partition("==")[2].partition(" ")[0] for pin in _constraints(project)}
    assert pins == locks.pinned((ROOT / "requirements" / "run.lock").read_text(encoding="utf-8"))


def _constraints(project: dict[str, Any]) -> list[str]:
    constraints: list[str] = project["tool"]["uv"]["constraint-dependencies"]
    return constraints


def test_the_official_packer_would_choose_the_same_top_level(tmp_path):
    allowed = {
        line.removeprefix("!/")
        for line in (ROOT / ".mcpbignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!/")
    }

    assert allowed == {*bundle.TOP, "scale_mcp"}


def test_the_registry_entry_has_the_shape_that_the_registry_demands(server_json):
    assert re.fullmatch(r"[A-Za-z0-9.-]+/[A-Za-z0-9._-]+", server_json["name"])
    assert 1 <= len(server_json["description"]) <= 100
    assert server_json["$schema"].endswith("/server.schema.json")
    (package,) = server_json["packages"]
    assert package["registryType"] == "pypi"
    assert package["identifier"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
    assert package["transport"] == {"type": "stdio"}
    assert "registryBaseUrl" not in package


def test_every_variable_of_the_registry_entry_is_a_setting_and_only_the_key_is_secret(server_json):
    variables = server_json["packages"][0]["environmentVariables"]

    assert {entry["name"] for entry in variables} <= {variable(field) for field in Settings.model_fields}
    assert [entry["name"] for entry in variables if entry.get("isSecret")] == ["SCALE_API_KEY"]


def test_the_readme_proves_to_the_registry_who_owns_the_package(server_json):
    assert f"<!-- mcp-name: {server_json['name']} -->" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["run", "dev"])
def test_every_locked_package_has_hashes_and_names_no_index(kind):
    lock = (ROOT / "requirements" / f"{kind}.lock").read_text(encoding="utf-8")

    entries = re.split(r"\n(?=[\w.-]+==)", lock.partition("\n")[2])
    assert len(entries) > 30
    assert not [entry.partition("\n")[0] for entry in entries if "--hash=sha256:" not in entry]
    assert "index-url" not in lock
    assert "://" not in lock


def test_a_dependency_that_changed_without_the_locks_is_noticed():
    lock = locks.DIGEST_LINE + locks.digest(["anyio>=4,<5"], ">=3.11") + "\nanyio==4.16.0 \\\n    --hash=sha256:0\n"

    assert locks.problems("run", lock, ["anyio>=4,<5"], ">=3.11") == []
    changed = locks.problems("run", lock, ["anyio>=5,<6", "rich"], ">=3.11")
    assert len(changed) == 3
    assert all("make lock" in problem for problem in changed)


def test_every_dependency_has_an_upper_bound():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert not [dependency for dependency in project["dependencies"] if "<" not in dependency]


@pytest.fixture
def bare_machine(tmp_path: Path) -> dict[str, str]:
    """An environment whose PATH holds a shell's helpers and whatever a test puts beside them, but no Python."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "touch"):
        (tools / name).symlink_to(str(shutil.which(name)))
    return {"PATH": str(tools), "HOME": str(tmp_path), "VENV": str(tmp_path / "venv"), "NO_UV": "1"}


def set_up(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(ROOT / "scripts" / "setup.sh"), "run"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def add_program(environment: dict[str, str], name: str, script: str) -> None:
    program = Path(environment["PATH"]) / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_machine_without_python_is_told_what_to_install(bare_machine):
    done = set_up(bare_machine)

    assert done.returncode != 0
    assert "no Python of 3.11 or newer was found" in done.stderr


def test_a_version_manager_s_shim_without_a_python_behind_it_fools_nobody(bare_machine):
    add_program(bare_machine, "python3.13", "echo 'command not found' >&2; exit 127")
    add_program(bare_machine, "uv", "exit 127")
    del bare_machine["NO_UV"]

    done = set_up(bare_machine)

    assert done.returncode != 0
    assert "no Python of 3.11 or newer was found" in done.stderr


def test_a_python_that_cannot_make_environments_is_named_with_the_cure(bare_machine):
    add_program(bare_machine, "python3", 'case "$2" in *ensurepip*) exit 1;; esac; exit 0')

    done = set_up(bare_machine)

    assert done.returncode != 0
    assert "python3-venv" in done.stderr


def test_a_named_python_that_is_too_old_is_refused_rather_than_replaced(bare_machine):
    add_program(bare_machine, "old-python", "exit 1")
    add_program(bare_machine, "python3", "exit 0")

    done = set_up({**bare_machine, "PYTHON": "old-python"})

    assert done.returncode != 0
    assert "PYTHON=old-python is not a Python of 3.11 or newer" in done.stderr


def test_every_make_target_is_listed_by_help():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.M)
    assert phony
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}

    shown = subprocess.run([make, "help"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    assert re.findall(r"make (\w+)", shown)[: len(phony[1].split())] == phony[1].split()
