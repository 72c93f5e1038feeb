"""The small cards behind the real doors: ``python -m tests.small_server [field=value …]`` serves them as a process.

What was done through the fake api is written to the file that SMALL_SERVER_LOG names, one line each.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import anyio

from scale_mcp.server.connection import Connection
from scale_mcp.server.run import serve
from scale_mcp.settings import load_settings
from tests.small_cards import CARDS, FakeApi


class Written(list[str]):
    def append(self, line: str) -> None:
        super().append(line)
        if path := os.environ.get("SMALL_SERVER_LOG"):
            with Path(path).open("a") as file:
                file.write(line + "\n")


def main() -> None:
    overrides: dict[str, Any] = dict(argument.split("=", 1) for argument in sys.argv[1:])
    settings = load_settings(overrides)

    async def work() -> None:
        await serve(Connection(FakeApi(done=Written()), "live"), settings, CARDS)  # type: ignore[arg-type]

    anyio.run(work)


if __name__ == "__main__":
    main()
