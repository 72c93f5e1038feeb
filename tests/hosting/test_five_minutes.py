"""The guide's first five minutes: its commands, typed as they stand, into an empty folder and a user's empty home."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx2
import pytest

from scale_mcp.server.transports.listening import listen
from tests.hosting.hosted import connected

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "hosting.md").read_text(encoding="utf-8")
SECTION = GUIDE.partition("\n## Five minutes\n")[2].partition("\n## ")[0]


def steps() -> list[tuple[str, str]]:
    """What the section has to be typed: in turn, or in a terminal beside, where it goes on."""
    return re.findall(r"<!-- run (in turn|beside) -->\n```sh\n(.*?)```", SECTION, re.S)


def free_port() -> int:
    with listen("127.0.0.1", 0) as listener:
        return int(listener.getsockname()[1])


@dataclass
class NewOperator:
    """Somebody with an empty folder. ``claude`` notes what it is told; the ports are others than in the guide."""

    folder: Path
    server: int = field(default_factory=free_port)
    sandbox: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        programs, home = self.folder / "bin", self.folder / "home"
        for place in (programs, home):
            place.mkdir(parents=True)
        self._script(programs / "scale-mcp", f'exec "{sys.executable}" -m scale_mcp "$@"')
        self._script(programs / "claude", f'printf "%s\\n" "$@" > "{self.folder}/claude"')
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("SCALE_", "XDG_", "PYTHONPATH"))
        }
        self.variables = {
            **kept,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(home),
            "COLUMNS": "200",
        }

    @staticmethod
    def _script(path: Path, line: str) -> None:
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def elsewhere(self, commands: str) -> str:
        """The same commands at free ports: others may be using the guide's."""
        at_ports = commands.replace("127.0.0.1:8000", f"127.0.0.1:{self.server}")
        at_ports = at_ports.replace("--kind sandbox", f"--kind sandbox --api-url http://127.0.0.1:{self.sandbox}/v1")
        at_ports = at_ports.replace("scale-mcp sandbox", f"scale-mcp sandbox --port {self.sandbox}")
        at_ports = at_ports.replace("--transport http --hosted", f"--transport http --hosted --port {self.server}")
        return at_ports.replace("scale-mcp doctor --hosted", f"scale-mcp doctor --hosted --port {self.server}")

    async def type(self, commands: str) -> str:
        """Run them to their end. Gives what they wrote."""
        command = ["sh", "-euc", self.elsewhere(commands)]
        done = await anyio.run_process(
            command, cwd=self.folder, env=self.variables, stdin=subprocess.DEVNULL, check=False
        )
        told = f"{done.stdout.decode()}{done.stderr.decode()}"
        assert done.returncode == 0, f"{commands}\n{told}"
        return told

    @contextmanager
    def terminal(self, commands: str) -> Iterator[None]:
        """One more terminal, in which they run until the end. Begins when they say that they listen."""
        process = subprocess.Popen(
            ["sh", "-euc", f"exec {self.elsewhere(commands)}"],
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        shown: list[str] = []
        try:
            for line in process.stderr:
                shown.append(line)
                if "Ctrl-C ends it" in line or '"listening"' in line:
                    break
            else:
                pytest.fail("".join(shown))
            yield
        finally:
            process.terminate()
            _, rest = process.communicate(timeout=30)
            assert process.returncode == 0, "".join(shown) + rest

    @property
    def claude_was_told(self) -> list[str]:
        return (self.folder / "claude").read_text().splitlines()


async def test_the_guide_leads_from_nothing_to_a_persona_over_http(tmp_path: Path) -> None:
    operator, said = NewOperator(tmp_path), ""
    with ExitStack() as terminals:
        for how, commands in steps():
            if how == "beside":
                terminals.enter_context(operator.terminal(commands))
                continue
            said = await operator.type(commands)
            if "claude mcp add" in commands:
                await work_as_claude(operator)

        async with httpx2.AsyncClient(trust_env=False, follow_redirects=True) as http:
            page = await http.get(f"http://127.0.0.1:{operator.server}/console")

    assert page.status_code == 200
    assert "All in order." in said
    assert "!" not in said.partition("All in order.")[0]
    assert "create_project" in said  # the trail, which the guide looks at last
    assert "Enter it at /console" in said


async def work_as_claude(operator: NewOperator) -> None:
    """With exactly the address and the header that Claude Code was given."""
    told = operator.claude_was_told
    assert told[:5] == ["mcp", "add", "--transport", "http", "scale"]
    name, _, value = told[told.index("--header") + 1].partition(": ")
    scheme, _, token = value.partition(" ")
    assert (name, scheme) == ("Authorization", "Bearer")
    for era in ("legacy", "2026-07-28"):
        async with connected(told[5].removesuffix("/mcp"), token, era) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert {"create_project", "create_image_annotation_task", "list_tasks"} <= names
            assert not {"cancel_task", "set_project_params"} & names
            arguments = {"name": f"street scenes {era}", "type": "imageannotation"}
            assert not (await client.call_tool("create_project", arguments)).is_error
            listed = await client.call_tool("list_projects", {})
            assert f"street scenes {era}" in str(listed.structured_content)


def test_the_entry_for_other_hosts_names_the_same_address() -> None:
    [line] = [line for _, commands in steps() for line in commands.splitlines() if line.startswith("claude ")]
    [written] = re.findall(r"```json\n(.*?)```", SECTION, re.S)

    entry = json.loads(written)["mcpServers"]["scale"]
    assert shlex.split(line)[6] == entry["url"]
    assert entry["headers"]["Authorization"].startswith("Bearer ")
