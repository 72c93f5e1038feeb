"""What to say about a wrong value: what it must be, what it was, and the cure. The parameter is named elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from scale_mcp.text import one_line

CURE = "cure"  # type of the errors whose text was written by us, and is shown as it is

_MUST_BE = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


def wording(found: Any) -> str:
    """The text for one of pydantic's errors (an element of ``ValidationError.errors()``)."""
    kind, context, value = found["type"], found.get("ctx", {}), found["input"]
    if kind == CURE:
        return str(context.get("text", found["msg"]))
    if kind in _MUST_BE:
        return f"must be {_MUST_BE[kind]}, not {shown(value)}{_hint(_MUST_BE[kind], value)}"
    match kind:
        case "missing":
            return "is missing"
        case "literal_error":
            return _not_one_of(str(context["expected"]), value)
        case "greater_than_equal":
            return f"must be at least {context['ge']}, not {shown(value)}"
        case "less_than_equal":
            return f"must be at most {context['le']}, not {shown(value)}"
        case "greater_than":
            return f"must be more than {context['gt']}, not {shown(value)}"
        case "string_too_short":
            return "must not be empty"
        case "too_short":
            return f"must have at least {_counted(context['min_length'])}, not {context['actual_length']}"
        case "too_long":
            return f"must have at most {_counted(context['max_length'])}, not {context['actual_length']}"
        case "value_error":
            return one_line(str(context["error"]), 300)
        case "recursion_loop":
            return "is nested too deeply"
    return one_line(str(found["msg"]), 300)


def shown(value: Any) -> str:
    """A value as a message may repeat it: short, and with its type where that is not obvious."""
    if value is None:
        return "null; leave it out instead"
    if isinstance(value, bool):
        return f"the boolean {json.dumps(value)}"
    if isinstance(value, int | float):
        return f"the number {value!r}"[:60]
    if isinstance(value, str):
        return f"the string {json.dumps(one_line(value, 60), ensure_ascii=False)}"
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else "this"


def _hint(wanted: str, value: Any) -> str:
    """How to write the value that was probably meant."""
    if isinstance(value, str) and len(value) < 10_000:
        try:
            meant = json.loads(value)
        except (ValueError, RecursionError):
            return f"; write [{json.dumps(one_line(value, 60), ensure_ascii=False)}]" if wanted == "a list" else ""
        if wanted in ("an integer", "a number") and isinstance(meant, int | float) and not isinstance(meant, bool):
            return "; write it without quotes"
        if wanted == "true or false" and isinstance(meant, bool):
            return "; write it without quotes"
        if (wanted, type(meant)) in (("an object", dict), ("a list", list)):
            return "; pass the JSON itself, not a text of it"
    if wanted == "a string" and isinstance(value, int | float) and not isinstance(value, bool):
        return "; write it in quotes"
    return ""


def _not_one_of(expected: str, value: Any) -> str:
    allowed = [name.strip(" '") for name in expected.replace(" or ", ", ").split(",")]
    text = f"must be {'one of ' if len(allowed) > 1 else ''}{', '.join(allowed)}, not {shown(value)}"
    meant = near_miss(value, allowed) if isinstance(value, str) else None
    return f"{text}; did you mean {meant}?" if meant else text


def _counted(number: int) -> str:
    return f"{number} item" if number == 1 else f"{number} items"


def near_miss(name: str, known: Iterable[str], likeness: float = 0.75) -> str | None:
    """The known name of which ``name`` looks like a misspelling; None also when it is itself known."""
    names = {each.lower(): each for each in known}
    if name in names.values():
        return None
    return next((names[close] for close in get_close_matches(name[:100].lower(), names, n=1, cutoff=likeness)), None)
