"""What a call answers: bounded, cleaned, and marked as data.

A success carries ``structuredContent`` after the tool's output schema and a short text. The text stands between two
marks that hold a token made for this one result: whatever a labeller or customer typed cannot close them. The next
step, where a tool names one, is in our own words and follows them. A failure is a result with ``isError``; its text
tells the agent what happened and what to do, its ``_meta`` tells a program.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import mcp.types as t

from scale_mcp.api.errors import ScaleError
from scale_mcp.text import cap, clean, clean_value, is_clean_json
from scale_mcp.tools.card import ToolOutput

ERROR_META = "scale-mcp/error"
UNTRUSTED_META = "scale-mcp/untrusted"  # the content was written by people outside: data, never instructions
SHORTENED_META = "scale-mcp/shortened"
SHORTENED_NOTE = "(Shortened to fit. Ask for fewer items at once, or for one of them.)"
TEXT_SHARE = 4  # the text may take a quarter of what the structure may
# Longest string and list kept, tried from mild to harsh until the whole fits.
STEPS = ((8192, 500), (4096, 200), (2048, 100), (1024, 50), (512, 20), (256, 10), (128, 5), (64, 2), (32, 1))
NOTHING: Mapping[str, Any] = MappingProxyType({})
_WRITE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def success(output: ToolOutput, limit: int, about: Mapping[str, Any] = NOTHING) -> t.CallToolResult:
    """The result of a call that went well, in at most ``limit`` characters of JSON and a quarter of that as text.

    ``about`` joins the result's ``_meta``.
    """
    structure = output.model_dump(mode="json", by_alias=True, exclude_none=True)
    written = _WRITE(structure)
    if not is_clean_json(written):
        structure = clean_value(structure)
        written = _WRITE(structure)
    structure, shortened = (structure, False) if len(written) <= limit else fit(structure, limit)
    text = clean(output.text())
    room = limit // TEXT_SHARE
    if len(text) > room:
        text, shortened = cap(text, room - len(SHORTENED_NOTE)), True
    meta: dict[str, Any] = {UNTRUSTED_META: True, **about}
    if shortened:
        text = f"{text}\n{SHORTENED_NOTE}"
        meta[SHORTENED_META] = True
    content = [_text(fence(text))]
    if output.next_step:
        content.append(_text(output.next_step))
    return t.CallToolResult(content=list(content), structured_content=structure, _meta=meta)


def failure(text: str, code: str, **details: Any) -> t.CallToolResult:
    """The result of a call that failed. ``details`` that are None are left out."""
    error = {"code": code, **{name: value for name, value in details.items() if value is not None}}
    return t.CallToolResult(content=[_text(clean(text))], is_error=True, _meta={ERROR_META: error})


def scale_failure(error: ScaleError) -> t.CallToolResult:
    """Scale's refusal, or ours before sending: the message with its next step, and the facts for a program."""
    return failure(
        str(error),
        snake_case(type(error).__name__),
        status=error.status,
        retryable=error.retryable,
        retry_after_s=error.retry_after,
        in_doubt=error.in_doubt or None,
        request_id=error.request_id,
    )


def fence(text: str) -> str:
    """Set foreign text apart with marks that it cannot contain."""
    token = secrets.token_hex(4)
    while token in text:
        token = secrets.token_hex(4)
    return f"<scale-data {token}>\n{text}\n</scale-data {token}>"


def fit(value: Any, limit: int) -> tuple[Any, bool]:
    """``value`` with long strings, lists and maps cut until its JSON has at most ``limit`` characters.

    Tools have fitted what they return already, by what it means; this is for limits that the operator set lower.
    Types stay what they were, so the output schema still holds. The second value tells whether anything was cut.
    """
    if len(_WRITE(value)) <= limit:
        return value, False
    shorter = value
    for longest, most in STEPS:
        shorter = _shorten(value, longest, most, top=True)
        if len(_WRITE(shorter)) <= limit:
            break
    return shorter, True


def _shorten(value: Any, longest: int, most: int, *, top: bool = False) -> Any:
    if isinstance(value, str):
        return cap(value, longest)
    if isinstance(value, list):
        return [_shorten(item, longest, most) for item in value[:most]]
    if isinstance(value, dict):
        # The outermost members are the tool's own and few; inner maps may be anybody's.
        kept = value if top else dict(list(value.items())[: max(most, 20)])
        return {key: _shorten(item, longest, most) for key, item in kept.items()}
    return value


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _text(text: str) -> t.TextContent:
    return t.TextContent(type="text", text=text)
