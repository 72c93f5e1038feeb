"""Checking a call's arguments: everything that is wrong with them in one answer, and nothing sent before."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from scale_mcp.models.base import RequestModel
from scale_mcp.models.checks import Problem, problems_in
from scale_mcp.text import one_line
from scale_mcp.tools.card import Card, ToolFailure

MAX_DEPTH = 64  # of nested arguments
MAX_SHOWN = 20  # problems in one answer
_SURROGATE = re.compile("[\ud800-\udfff]")


def check(card: Card, arguments: Any) -> RequestModel:
    """The arguments as the tool's input model.

    Raises ToolFailure, whose text names each wrong parameter and its cure. Nothing is coerced, and unknown
    arguments are refused: a model that misspells ``dry_run`` must not run the real thing.
    """
    if not isinstance(arguments, dict):
        raise ToolFailure(f"{card.name}: the arguments must be a JSON object.")
    problems = {problem.where: problem for problem in _unsendable(arguments)}
    if problems:  # too deep or odd to look any closer
        raise ToolFailure(_told(card, list(problems.values())))
    for name, value in arguments.items():
        if value is None:
            known = card.input_model.model_fields.get(name)
            cure = "give a value" if known is not None and known.is_required() else "leave it out instead"
            problems[(name,)] = Problem((name,), f"must not be null; {cure}")
    try:
        model = card.input_model.model_validate({name: value for name, value in arguments.items() if value is not None})
    except ValidationError as error:
        problems = {problem.where: problem for problem in problems_in(error)} | problems
    if problems:
        raise ToolFailure(_told(card, list(problems.values())))
    return model


def _told(card: Card, problems: list[Problem]) -> str:
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = [f"{card.name}: {count} with the arguments; nothing was sent to Scale."]
    for problem in problems[:MAX_SHOWN]:
        stop = "" if problem.text.endswith((".", "?")) else "."
        lines.append(f"- `{place(problem.where)}` {problem.text}{stop}")
    if len(problems) > MAX_SHOWN:
        lines.append(f"- and {len(problems) - MAX_SHOWN} more")
    return "\n".join(lines)


def place(where: tuple[str | int, ...]) -> str:
    """``("geometries", "box", 1)`` as ``geometries.box[1]``. Names of union members (``<…>``) are left out."""
    text = ""
    for part in where:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not (part.startswith("<") and part.endswith(">")):
            text += ("." if text else "") + one_line(part, 60)
    return text or "arguments"


def _unsendable(arguments: dict[str, Any]) -> Iterator[Problem]:
    """What no JSON body can hold, and nesting that nobody means. Walked without recursion."""
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), arguments)]
    while waiting:
        where, value = waiting.pop()
        if len(where) > MAX_DEPTH:
            yield Problem(where[:1], f"is nested more than {MAX_DEPTH} levels deep; flatten it")
        elif isinstance(value, dict):
            waiting.extend(((*where, str(name)), item) for name, item in value.items())
        elif isinstance(value, list):
            waiting.extend(((*where, index), item) for index, item in enumerate(value))
        elif isinstance(value, float) and not math.isfinite(value):
            yield Problem(where, "must be a finite number, not NaN or Infinity")
        elif isinstance(value, str) and _SURROGATE.search(value):
            yield Problem(where, "holds half of a surrogate pair, which cannot be sent; correct the text")
