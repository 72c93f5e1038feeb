"""The bytes the front answers with. ``opening.answers`` is written by ``make generate`` from the real server.

Each line is a key, a tab and JSON. A list is put together for the selection in force from one fragment per tool,
so that any selection can be served; the rules of selection are those of ``server.selection``, and a test compares
the lists of both.
"""

from __future__ import annotations

import os

FILE = os.path.join(os.path.dirname(__file__), "opening.answers")  # noqa: PTH118, PTH120  (pathlib is slow to import)


class Answers:
    """Results, ready to send, for one selection.

    legacy, modern   method → the JSON of ``result``
    hello            the two halves of the result of ``initialize``, around the protocol version
    """

    __slots__ = ("hello", "legacy", "modern")

    def __init__(self, lines: dict[str, bytes], parts: dict[str, list[bytes]]) -> None:
        self.hello = lines["initialize head"], lines["initialize tail"]
        self.legacy = {"ping": b"{}"}
        self.modern = {"server/discover": lines["discover"]}
        for method, items in parts.items():
            joined = b",".join(items)
            self.legacy[method] = lines["legacy head " + method] + joined + lines["legacy tail"]
            self.modern[method] = lines["modern head " + method] + joined + lines["modern tail"]


def answers(values: dict[str, bool | str | list[str]]) -> Answers | None:
    """The answers under the given settings, None when a name in them is unknown or nothing would be left."""
    try:
        lines = _lines()
    except OSError:
        return None
    tools = [key.split() for key in lines if key.startswith("tool ")]
    offered = _offered(tools, values)
    if offered is None:
        return None
    keys = [key for key in lines if key.startswith("find ")] if values.get("discovery") else offered
    names = {key.split()[3] for key in offered}
    templates = [key for key in lines if key.startswith("template ") and key.split()[2] in names]
    prompts = [key for key in lines if key.startswith("prompt ")]
    return Answers(
        lines,
        {
            "tools/list": [lines[key] for key in keys],
            "resources/templates/list": [lines[key] for key in templates],
            "resources/list": [],
            "prompts/list": [lines[key] for key in prompts],
        },
    )


def _offered(tools: list[list[str]], values: dict[str, bool | str | list[str]]) -> list[str] | None:
    """The keys of the tools that pass the filters; each is ``tool <toolset> <risk> <name>``."""
    toolsets, single = _names(values, "toolsets"), _names(values, "tools")
    excluded = _names(values, "exclude_tools")
    known = {tool[3] for tool in tools}
    if not (single | excluded) <= known or not toolsets <= {"all", *(tool[1] for tool in tools)}:
        return None
    wanted = toolsets or (set() if single else {"all"})
    offered = [
        " ".join(tool)
        for tool in tools
        if ("all" in wanted or tool[1] in wanted or tool[3] in single)
        and tool[3] not in excluded
        and (tool[2] == "read" or not values.get("read_only"))
    ]
    return offered or None


def _names(values: dict[str, bool | str | list[str]], field: str) -> set[str]:
    names = values.get(field, [])
    return set(names) if isinstance(names, list) else set()


def _lines() -> dict[str, bytes]:
    descriptor = os.open(FILE, os.O_RDONLY)
    try:
        content = bytearray()
        while chunk := os.read(descriptor, 1 << 20):
            content += chunk
    finally:
        os.close(descriptor)
    lines = {}
    for line in bytes(content).split(b"\n"):
        key, tab, value = line.partition(b"\t")
        if tab:
            lines[key.decode()] = value
    return lines
