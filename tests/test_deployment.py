"""The image, the composition and the proxy agree with each other, with the tree and with the settings."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from scale_mcp.hosting.master_keys import new_master_key
from scale_mcp.settings import Settings, flag, load_settings, variable
from tests.small_yaml import parse

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")
PROXY = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
GUIDE = (ROOT / "docs" / "hosting.md").read_text(encoding="utf-8")
GIVEN = {
    "POSTGRES_PASSWORD": "secret",
    "SCALE_MCP_MASTER_KEYS": new_master_key().written.get_secret_value(),
    "PUBLIC_URL": "https://tools.example.com",
    "ALLOWED_HOSTS": "tools.example.com",
}


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.+)$", DOCKERFILE, re.M)


def let_through(path: str) -> bool:
    """Whether the build sees this file of the tree: the last pattern decides that matches it or a folder above it."""
    seen = True
    parts = path.split("/")
    above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    for pattern in IGNORED:
        wanted = pattern.removeprefix("!")
        anywhere = wanted.removeprefix("**/")
        if any(fnmatch.fnmatch(each, wanted) for each in above) or (anywhere != wanted and anywhere in parts):
            seen = pattern.startswith("!")
    return seen


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = parse(COMPOSE)["services"]
    return found


def copied() -> dict[str, str]:
    """Where in the image → which file or folder of the tree, over all COPY instructions that take from the tree."""
    pairs = [shlex.split(line) for line in instructions("COPY") if not line.startswith("--from")]
    assert all(len(pair) == 2 for pair in pairs)
    return {target: source for source, target in pairs}


def in_tree(path: str) -> Path:
    """The file of the tree that lies at this path of the image."""
    for target, source in copied().items():
        if path == target:
            return ROOT / source
        if path.startswith(f"{target}/"):
            return ROOT / source / path.removeprefix(f"{target}/")
    pytest.fail(f"nothing is copied to {path}")


def test_every_file_that_the_image_is_made_of_exists_and_is_let_through() -> None:
    sources = [source for source in copied().values() if source != "."]
    run = [in_tree(word) for line in instructions("RUN") for word in line.split() if word.startswith("/source/")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    script = (ROOT / "deploy" / "install.sh").read_text(encoding="utf-8")
    locks = re.findall(r"requirements/\S+\.lock", script)
    needed = [*sources, *(str(path.relative_to(ROOT)) for path in run), *locks, project["readme"], "pyproject.toml"]
    needed += [*project["license-files"], "scale_mcp/cli/app.py"]

    assert locks
    assert run
    assert [path for path in needed if not (ROOT / path).is_file()] == []
    assert [path for path in needed if not let_through(path)] == []


def test_the_build_sees_every_part_of_the_package_and_nothing_private() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("this is no git checkout")
    seen = [path for path in tracked.stdout.splitlines() if let_through(path)]

    assert {path for path in tracked.stdout.splitlines() if path.startswith("scale_mcp/")} <= set(seen)
    tops = {path.split("/")[0] for path in seen}
    assert tops == {"CHANGELOG.md", "LICENSE", "README.md", "deploy", "pyproject.toml", "requirements", "scale_mcp"}
    assert [
        path for path in (".env", "hosted.db", "master.keys", ".git/config", "tests/x.py") if let_through(path)
    ] == []
    assert not let_through("scale_mcp/cli/__pycache__/app.cpython-313.pyc")


def test_the_image_runs_as_a_user_of_its_own_and_looks_after_itself() -> None:
    [user] = instructions("USER")
    [health] = re.findall(r"^HEALTHCHECK .*CMD (\[.+\])$", DOCKERFILE, re.M)
    created = next(line for line in instructions("RUN") if line.startswith("useradd"))

    assert user == created.split()[-1]
    assert in_tree(json.loads(health)[1]) == ROOT / "deploy" / "healthy.py"
    assert instructions("EXPOSE") == [str(Settings.model_fields["port"].default)]
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["scale-mcp"]
    installed = re.findall(r"^RUN sh /source/deploy/install\.sh (\S+)$", DOCKERFILE, re.M)
    assert any(line.split()[-2:] == [installed[0], installed[0]] for line in instructions("COPY"))
    assert any(f"PATH={installed[0]}/bin:" in line for line in instructions("ENV"))


def flags_of_the_image() -> dict[str, Any]:
    """The settings that CMD gives."""
    name, *arguments = json.loads(instructions("CMD")[0])
    fields = {flag(field): field for field in Settings.model_fields}
    given: dict[str, Any] = {}
    assert name == "serve"
    while arguments:
        field = fields[arguments.pop(0)]
        given[field] = arguments.pop(0) if arguments and not arguments[0].startswith("--") else True
    return given


def filled_in(value: str) -> str:
    return re.sub(r"\$\{(\w+):\?\}", lambda match: GIVEN[match[1]], value)


def test_a_replica_of_the_composition_has_settings_that_it_starts_with(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = services["scale-mcp-1"]
    image = dict(pair.split("=", 1) for line in instructions("ENV") for pair in line.split())
    for name, value in {**image, **replica["environment"]}.items():
        if name.startswith("SCALE_"):
            assert name in {variable(field) for field in Settings.model_fields}
            monkeypatch.setenv(name, filled_in(value))

    settings = load_settings(flags_of_the_image(), serving=True)

    assert settings.hosted
    assert settings.trusted_hops == 1  # nginx
    assert settings.public_url == GIVEN["PUBLIC_URL"]
    assert settings.store is not None
    assert settings.store.get_secret_value() == "postgresql://scale:secret@postgres/scale"


def test_the_composition_asks_only_for_what_it_explains(services: dict[str, Any]) -> None:
    asked = set(re.findall(r"\$\{(\w+)", COMPOSE))

    assert asked == set(GIVEN)
    assert asked == set(re.findall(r"^#   ([A-Z_]+) ", COMPOSE, re.M))
    assert all(f"`{name}`" in GUIDE or f"{name}=" in GUIDE for name in asked)
    database = services["postgres"]["environment"]
    assert (database["POSTGRES_USER"], database["POSTGRES_DB"]) == ("scale", "scale")


def test_the_proxy_knows_every_replica_and_the_composition_every_file(services: dict[str, Any]) -> None:
    behind = re.findall(r"^\s+server ([\w-]+):(\d+) ", PROXY, re.M)
    replicas = sorted(name for name in services if name.startswith("scale-mcp-"))

    assert behind == [(name, "8000") for name in replicas]
    assert services["proxy"]["depends_on"] == replicas
    assert re.findall(r"listen (\d+);", PROXY) == [services["proxy"]["ports"][0].partition(":")[2]]
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    files = [place for place in mounted if place.startswith("./")]
    assert files
    assert all((ROOT / place).is_file() for place in files)
    assert {place for place in mounted if not place.startswith("./")} == set(parse(COMPOSE)["volumes"])


def test_replicas_are_hardened_and_all_alike(services: dict[str, Any]) -> None:
    first, *others = [service for name, service in services.items() if name.startswith("scale-mcp-")]

    assert len(others) == 2
    assert all(other == first for other in others)
    assert first["read_only"] is True
    assert first["cap_drop"] == ["ALL"]
    assert first["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in first


@pytest.mark.parametrize(
    "line",
    ["a: 'x'", "a:\n  - b", "a: |", "a: x # remark", "a: {b: c", "a: [b", "a: 1\na: 2", "a: x: y", "\ta: b", "a: !x y"],
)
def test_what_the_small_reader_of_yaml_does_not_know_it_refuses(line: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        parse(line)
