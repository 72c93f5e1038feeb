"""The bytes the front answers with. ``opening.answers`` is written by ``make generate`` from the real server.

Each line is a key, a tab and bytes, mostly JSON. A list is put together for the selection in force from one fragment
per tool, so that any selection can be served; the rules of selection are those of ``server.selection``, and a test
compares the lists of both. With another version of the SDK or of this package than the bytes come from, there are
no answers.
"""

from __future__ import annotations

import os
import sys

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
    if not all(_installed(name) for name in lines["made with"].decode().split()):
        return None
    tools = [key.split() for key in lines if key.startswith("tool ")]
    offered = _offered(tools, values)
    if not offered:
        return None
    names = {tool[3] for tool in offered}
    shown = _finders(lines, offered) if values.get("discovery") else [lines[" ".join(tool)] for tool in offered]
    templates = [key for key in lines if key.startswith("template ") and key.split()[2] in names]
    prompts = [key for key in lines if key.startswith("prompt ")]
    return Answers(
        lines,
        {
            "tools/list": shown,
            "resources/templates/list": [lines[key] for key in templates],
            "resources/list": [],
            "prompts/list": [lines[key] for key in prompts],
        },
    )


def _installed(name: str) -> bool:
    """Whether that version is what an import would find, as far as folders tell."""
    return any(os.path.isdir(f"{folder}/{name}.dist-info") for folder in sys.path)  # noqa: PTH112


def _finders(lines: dict[str, bytes], offered: list[list[str]]) -> list[bytes]:
    """The three tools of discovery mode, which say what they find and how risky it can be."""
    areas = ", ".join(dict.fromkeys(tool[1] for tool in offered))
    risks = {tool[2] for tool in offered}
    worst = "destroy" if "destroy" in risks else "read" if risks == {"read"} else "write"
    find = lines["find head"] + f"{len(offered)} ({areas})".encode() + lines["find tail"]
    return [find, lines["describe"], lines["run " + worst]]


def _offered(tools: list[list[str]], values: dict[str, bool | str | list[str]]) -> list[list[str]]:
    """The tools that pass the filters, each as ``tool``, toolset, risk, name. None at all for an unknown name."""
    toolsets, single = _names(values, "toolsets"), _names(values, "tools")
    excluded = _names(values, "exclude_tools")
    known = {tool[3] for tool in tools}
    if not (single | excluded) <= known or not toolsets <= {"all", *(tool[1] for tool in tools)}:
        return []
    wanted = toolsets or (set() if single else {"all"})
    return [
        tool
        for tool in tools
        if ("all" in wanted or tool[1] in wanted or tool[3] in single)
        and tool[3] not in excluded
        and (tool[2] == "read" or not values.get("read_only"))
    ]


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
