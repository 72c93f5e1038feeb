"""As much of YAML as compose.yaml is written in: nested mappings, lists and mappings on one line, anchors and aliases.

Anything else raises, so that what is not understood is never taken for something else.
"""

from __future__ import annotations

import re
from typing import Any

LINE = re.compile(r"(?P<indent> *)(?P<key>[\w.-]+):(?: +&(?P<anchor>[\w-]+))?(?: +(?P<value>\S.*))?")


def parse(text: str) -> dict[str, Any]:
    """The document's mapping. Raises ``ValueError`` with the line that is not understood."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return _Document(lines).mapping(0)


class _Document:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 0
        self._anchors: dict[str, Any] = {}

    def mapping(self, indent: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._at < len(self._lines):
            line = self._lines[self._at]
            match = LINE.fullmatch(line)
            if match is None or len(match["indent"]) > indent:
                raise ValueError(f"not understood: {line}")
            if len(match["indent"]) < indent:
                break
            if match["key"] in found:
                raise ValueError(f"twice: {line}")
            self._at += 1
            found[match["key"]] = value = self._value(match["value"], indent)
            if match["anchor"]:
                self._anchors[match["anchor"]] = value
        return found

    def _value(self, written: str | None, indent: int) -> Any:
        if written is None:
            following = self._lines[self._at] if self._at < len(self._lines) else ""
            deeper = len(following) - len(following.lstrip())
            return self.mapping(deeper) if deeper > indent else None
        if written.startswith("*"):
            return self._anchors[written[1:]]
        value, rest = _inline(written, "")
        if rest.strip():
            raise ValueError(f"not understood: {rest}")
        return value


def _inline(text: str, ends: str) -> tuple[Any, str]:
    """The value at the beginning of ``text``, and what follows it. A plain one goes on until one of ``ends``."""
    text = text.lstrip()
    if text.startswith("["):
        return _listed(text[1:])
    if text.startswith("{"):
        return _mapped(text[1:])
    if text.startswith('"'):
        content, quote, rest = text[1:].partition('"')
        if not quote or "\\" in content:
            raise ValueError(f"not understood: {text}")
        return content, rest
    if text[:1] in "'&*!|>%@`-?" or (not ends and re.search(r": | #", text)):
        raise ValueError(f"not understood: {text}")
    end = next((at for at, letter in enumerate(text) if letter in ends), len(text))
    plain = text[:end].strip()
    return {"true": True, "false": False, "null": None}.get(plain, plain), text[end:]


def _listed(text: str) -> tuple[list[Any], str]:
    found = []
    while not text.lstrip().startswith("]"):
        value, text = _inline(text, ",]")
        found.append(value)
        text = _after_comma(text, "]")
    return found, text.lstrip()[1:]


def _mapped(text: str) -> tuple[dict[str, Any], str]:
    found: dict[str, Any] = {}
    while not text.lstrip().startswith("}"):
        key, colon, text = text.partition(": ")
        if not colon or not re.fullmatch(r"[\w.-]+", key.strip()):
            raise ValueError(f"not understood: {key}")
        found[key.strip()], text = _inline(text, ",}")
        text = _after_comma(text, "}")
    return found, text.lstrip()[1:]


def _after_comma(text: str, end: str) -> str:
    rest = text.lstrip()
    if rest.startswith(","):
        return rest[1:]
    if not rest.startswith(end):
        raise ValueError(f"not understood: {text}")
    return rest
