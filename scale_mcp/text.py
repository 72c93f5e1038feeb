"""Making foreign text harmless to read: no invisible characters, no direction tricks, bounded length.

What labellers, customers and servers typed goes to a language model and to terminals. Characters that nobody
sees can carry orders there, so they are removed; emoji sequences and the joiners that some scripts need stay.
"""

from __future__ import annotations

import re
from typing import Any

MAX_DEPTH = 200  # of nested JSON; deeper parts are replaced by an ellipsis

_ELLIPSIS = "…"

# Everything that is examined at all; most text holds none of it and returns untouched.
_SUSPECT = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, except tab and newline
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # soft hyphen, fillers, Mongolian selectors
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f"  # zero width, line separators, bidirectional controls
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\ufffe\uffff"  # fillers, variation selectors, specials
    "\ud800-\udfff"  # lone surrogates: not encodable
    "\U000e0000-\U000e0fff"  # tag characters and supplementary variation selectors
    "]"
)

_ESCAPED = re.compile(r"\\[urbf]")  # how JSON writes control characters other than tab and newline

# Characters that start or continue an emoji.
_PICTURE = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
_JOINED_SCRIPT = "\u0600-\u06ff\u0700-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff\u1800-\u18af"  # Arabic, Indic, …

# Invisible characters in the only places where they belong.
_KEPT = re.compile(
    "(?:"
    "\U0001f3f4\U000e0067\U000e0062(?:"  # flags of England, Scotland and Wales: the only ones spelt with tags
    "\U000e0065\U000e006e\U000e0067|\U000e0073\U000e0063\U000e0074|\U000e0077\U000e006c\U000e0073)\U000e007f"
    "|[0-9#*]\ufe0f\u20e3"  # keycaps
    f"|(?<=[{_PICTURE}])\ufe0f"  # coloured presentation …
    f"|(?<=[{_PICTURE}])\ufe0e"  # … and the plain one
    f"|(?<=[{_PICTURE}\ufe0f])\u200d(?=[{_PICTURE}])"  # joined emoji: families, professions
    f"|(?<=[{_JOINED_SCRIPT}])[\u200c\u200d](?=[{_JOINED_SCRIPT}])"  # joiners that change how a word is written
    ")"
)

_PASS = re.compile(
    f"(?P<kept>{_KEPT.pattern})|(?P<newline>\r\n|[\r\u2028\u2029])|(?P<lone>[\ud800-\udfff])|{_SUSPECT.pattern}"
)


def clean(text: str) -> str:
    """``text`` without invisible, control and direction-changing characters.

    Tabs and newlines stay (all line ends become ``\\n``), as do emoji sequences and script joiners. Cleaning what
    is clean changes nothing: removing one character can bring others together, so it runs until nothing is left.
    """
    while _SUSPECT.search(text):
        cleaned = _PASS.sub(_replace, text)
        if cleaned == text:
            break
        text = cleaned
    return text


def is_clean_json(text: str) -> bool:
    """Whether ``clean_value`` would change nothing in the value that was written as this JSON; False where unsure.

    A fifth of the work of looking at the value's strings one by one. ``text`` has characters beyond ASCII unescaped.
    """
    if _SUSPECT.search(text) or ("\\" in text and _ESCAPED.search(text)):
        return False
    return text.count("[") + text.count("{") <= MAX_DEPTH  # so it cannot be nested deeper


def _replace(match: re.Match[str]) -> str:
    if match["kept"]:
        return match[0]
    if match["newline"]:
        return "\n"
    return "\ufffd" if match["lone"] else ""


def cap(text: str, n: int) -> str:
    """``text`` in at most ``n`` characters; a cut is marked with an ellipsis and never leaves half an emoji joiner."""
    if len(text) <= n:
        return text
    if n <= 0:
        return ""
    return text[: n - 1].rstrip("\u200c\u200d") + _ELLIPSIS


def one_line(text: str, n: int) -> str:
    """``text`` cleaned, on one line, in at most ``n`` characters: for quoting foreign words in a message."""
    return cap(" ".join(clean(text[: 4 * n + 64]).split()), n)


def clean_value(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A JSON value with every string in it cleaned, keys included. Other values pass as they are."""
    if isinstance(value, str):
        return clean(value)
    if depth <= 0 and isinstance(value, list | tuple | dict):
        return _ELLIPSIS
    if isinstance(value, dict):
        return {
            clean(key) if isinstance(key, str) else key: clean_value(item, depth - 1) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [clean_value(item, depth - 1) for item in value]
    return value
