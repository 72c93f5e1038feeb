"""Changing somebody's settings file without harm: read it whole, keep a copy, put the new one in place at once."""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

PRIVATE = 0o600


class HostFileError(Exception):
    """The file cannot be changed safely. The text says why and what to do."""


def read(path: Path, section: str) -> tuple[dict[str, Any], str]:
    """The document and its text; both empty when there is no file.

    Raises:
        HostFileError: it is not a JSON object, or what should hold the servers is not an object.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}, ""
    except (OSError, UnicodeDecodeError) as error:
        raise HostFileError(f"{path} cannot be read ({error}). Nothing was changed.") from None
    if not text.strip():
        return {}, text
    try:
        document = json.loads(text)
    except ValueError as error:
        raise HostFileError(f"{path} is not valid JSON ({error}). Nothing was changed. {_cure(text)}") from None
    if not isinstance(document, dict):
        raise HostFileError(f"{path} holds {_kind(document)}, not an object. Nothing was changed. {_BY_HAND}")
    for name, expected in ((section, dict), ("inputs", list)):
        if not isinstance(document.get(name, expected()), expected):
            raise HostFileError(
                f"“{name}” in {path} is {_kind(document[name])}, which its host would not read either. "
                f"Nothing was changed. Correct it, or take it out, and run this again."
            )
    return document, text


def write(path: Path, document: dict[str, Any], old_text: str, now: datetime) -> Path | None:
    """Put the document in place. Returns the copy of the old file, or None when there was none.

    The link of a linked file stays, the permissions stay, and a reader sees the old file or the new one.

    Raises:
        HostFileError: the folder cannot be written.
    """
    target = path.resolve()
    text = json.dumps(document, indent=_indent(old_text), ensure_ascii=False) + "\n"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else PRIVATE
        backup = _back_up(target, mode, now) if target.exists() else None
        _replace(target, text.encode(), mode)
    except OSError as error:
        raise HostFileError(f"{path} cannot be written ({error}). The file is as it was. {_BY_HAND}") from None
    return backup


def _back_up(target: Path, mode: int, now: datetime) -> Path:
    content = target.read_bytes()
    for number in range(1, 1000):
        suffix = "" if number == 1 else f"-{number}"
        backup = target.with_name(f"{target.name}.{now:%Y%m%d-%H%M%S}{suffix}.bak")
        try:
            descriptor = os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        backup.chmod(mode)
        return backup
    raise OSError("too many copies of this second")


def _replace(target: Path, content: bytes, mode: int) -> None:
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(mode)
        fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


_BY_HAND = "With --print you get the entry to put in by hand."


def _cure(text: str) -> str:
    if re.search(r"^\s*(//|/\*)|,\s*[}\]]", text, re.MULTILINE):
        return f"It has comments or trailing commas, which would be lost in rewriting. {_BY_HAND}"
    return f"Correct the file and run this again. {_BY_HAND}"


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", type(None): "null", dict: "an object"}
    return names.get(type(value), "a number")


def _indent(text: str) -> int | str:
    """The indentation the file already uses, else two blanks."""
    found = re.search(r"^[\[{]\s*\n([ \t]+)", text)
    if not found:
        return 2
    return "\t" if "\t" in found[1] else len(found[1])
