"""What goes into the trail is made safe first: no secrets in it, bounded in size, nothing but JSON.

Secrets are looked for before anything is shortened, so that no half of one stays. What looks like one is taken for
one: a digest of the arguments, not their text, is what proves later what was asked.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from scale_mcp.text import clean

REDACTED = "[redacted]"
LONGEST_TEXT = 1_000  # characters of one string
LARGEST_VALUE = 10_000  # characters of one redacted value, in all
MOST_ITEMS = 50  # of one list or object
DEEPEST = 12
SCANNED = 4_000  # characters of one string that are looked at
MOST_SCANNED = 100_000  # characters of one value that are looked at, in all its strings: hostile ones cost time
HUGE = 10**30  # a number beyond is no number that anybody meant

# Names whose value is secret whatever it looks like, compared without case and punctuation.
SECRET_NAME = re.compile(
    r"apikey|accesskey|privatekey|secretkey|masterkey|signingkey|encryptionkey|secret|passw|passphrase|passcode|token"
    r"|authorization|callbackauth|bearer|credential|cookie|signature|jwt|^auth$|^pin$|^otp$|^sig$|^pwd$"
)
NOT_SECRET_NAME = re.compile(
    r"((token|key)ids?|(created|expires|retired|issued|checked|used)at|expiresin|count|label|digest|fingerprint"
    r"|maxtokens)$"
)
OWN_ID = re.compile(r"(?!live_|test_)[a-z]{2,6}_[a-z2-7]{16}")

# Every pattern takes time that grows with the text and not with its square, whatever the text. Most texts have none
# of the words that one begins with, which is seen much faster than that it does not match.
PATTERNS = [
    re.compile(r"-----BEGIN[A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END[A-Z ]{0,40}-----|\Z)", re.DOTALL),
    re.compile(r"(?i)(?:live|test)_(?:(?=[a-z]*[0-9])[a-z0-9]{12,}|[a-z]{24,})[a-z0-9_-]*(?:\|[a-z0-9]+)?"),
    re.compile(r"(?<![!-9;-{}~])[!-9;-{}~]{6,}\|(?:test|live)\b"),  # the other form of Scale's keys: abc123|test
    re.compile(r"smcp_[A-Za-z0-9_-]{8,}"),  # a persona's token
    re.compile(r"(?:bGl2ZV|dGVzdF|c21jcF)[A-Za-z0-9+/_-]{8,}=*"),  # the beginnings of those, in base64
    re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{2,}(?:\.[A-Za-z0-9_-]*)?"),  # a signed token
    re.compile(r"(?:gh[opsu]_|github_pat_|glpat-|xox[a-z]-|\bsk-|rk_live_|AIza|ya29\.)[A-Za-z0-9_-]{12,}"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"),
]
AUTHORIZATION = re.compile(r"(?i)\b(basic|bearer|digest|negotiate)(\s{1,9})[A-Za-z0-9+/=._~|-]{6,}")
ASSIGNED = re.compile(
    r"""(?ix)
    (
     (?:api[ _.-]?key | access[ _.-]?key | private[ _.-]?key | secret | passw(?:or)?d | passphrase | token
      | authorization | callback[ _.-]?auth | credential | cookie | signature)
     [a-z0-9_.-]{0,20} \\?["']? \s{0,3} [:=] \s{0,3}
    )
    (?: \\?"[^"]*"? | \\?'[^']*'? | [^\s"'\\&<>]{3,} )
    """
)
URL = re.compile(r"""(\b[a-z][a-z0-9+.-]{0,20}://)([^\s"'<>\\]*)""", re.IGNORECASE)
OPAQUE = re.compile(
    r"(?<![A-Za-z0-9_+-])(?=[A-Z0-9_+-]*[a-z])(?=[a-z0-9_+-]*[A-Z])(?=[A-Za-z_+-]*[0-9])[A-Za-z0-9_+-]{32,}={0,2}"
)
BORDERS = " \n\t\"'<>,;"
# One of these is in whatever the pattern matches; in small letters where the pattern minds no case.
WORDS: list[tuple[re.Pattern[str], tuple[str, ...], bool]] = [
    (PATTERNS[0], ("-----BEGIN",), False),
    (PATTERNS[1], ("live_", "test_"), True),
    (PATTERNS[2], ("|",), False),
    (PATTERNS[3], ("smcp_",), False),
    (PATTERNS[4], ("bGl2ZV", "dGVzdF", "c21jcF"), False),
    (PATTERNS[5], ("eyJ",), False),
    (PATTERNS[6], ("gh", "glpat-", "xox", "sk-", "rk_live_", "AIza", "ya29."), False),
    (PATTERNS[7], ("AKIA", "ASIA"), False),
]
SCHEMES = ("basic", "bearer", "digest", "negotiate")
ASSIGNED_NAMES = (
    *("api", "access", "private", "secret", "passw", "passphrase", "token"),
    *("authorization", "callback", "credential", "cookie", "signature"),
)
SHORTEST_OPAQUE = 32
# A word, a number, a time or an id such as most values are: nothing above can match in it.
HARMLESS = re.compile(r"[a-z]{1,20}|[0-9a-f-]{1,36}|[0-9TZ:.+-]{1,40}")
ANYWHERE = (PATTERNS[1], PATTERNS[3], PATTERNS[4])  # which find what they are for whatever stands before it
NAMES_REMEMBERED = 2_000
LONGEST_REMEMBERED = 60


class Redactor:
    """Takes secrets out of texts and values. It may be told of secrets that nothing would be recognised by."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: set[str] = set()
        self._names: dict[str, str] = {}  # of fields, which are the same again and again, as they are shown
        self._known = re.compile(r"(?!)")
        self.know(secrets)

    def know(self, secrets: Iterable[str]) -> None:
        """Remember secrets, to take them out wherever they stand, also as they travel in a Basic header.

        What is recognised anyhow, as most keys of Scale are, needs no remembering.
        """
        new = {form for secret in secrets if len(secret) >= 6 for form in _forms(secret)} - self._forms
        new = {form for form in new if not any(pattern.fullmatch(form) for pattern in ANYWHERE)}
        if new:
            self._forms |= new
            self._names.clear()
            self._known = re.compile("|".join(re.escape(f) for f in sorted(self._forms, key=len, reverse=True)))

    def text(self, text: str, longest: int = LONGEST_TEXT) -> str:
        """``text`` without secrets and invisible characters, in at most ``longest`` characters."""
        total = len(text)
        if total > SCANNED:  # and no half of a word, which may be half of a secret
            text = text[: max(text.rfind(border, 0, SCANNED) for border in BORDERS) + 1]
        text = clean(text)
        if self._forms:
            text = self._known.sub(REDACTED, text)
        text = text if HARMLESS.fullmatch(text) else _without_secrets(text)
        if len(text) <= longest and total <= SCANNED:
            return text
        return f"{text[:longest]}… ({total} characters)"

    def value(self, value: Any, largest: int = LARGEST_VALUE, most: int = MOST_ITEMS) -> Any:
        """A JSON value without secrets, in about ``largest`` characters, of each list and object the first ``most``.

        What is left out is counted in its place.
        """
        return self._value(value, _Room(largest, most), 0)

    def _value(self, value: Any, room: _Room, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value, room)
        room.left -= 8
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return value if -HUGE < value < HUGE else "(a huge number)"
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, Mapping):
            return self._object(value, room, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self._list(list(value), room, depth)
        return f"({type(value).__name__})"

    def _text(self, text: str, room: _Room, longest: int = LONGEST_TEXT) -> str:
        if room.scanned <= 0 or room.left <= 0:
            return f"({len(text)} characters)"
        short = self.text(text, min(longest, room.left))
        room.scanned -= min(len(text), SCANNED)
        room.left -= len(short) + 4
        return short

    def _name(self, name: str, room: _Room) -> str:
        if name in self._names:
            shown = self._names[name]
            room.left -= len(shown) + 4
            return shown
        shown = self._text(name, room, 100)
        if len(name) <= LONGEST_REMEMBERED and room.left > 0 and room.scanned > 0:
            if len(self._names) >= NAMES_REMEMBERED:
                self._names.clear()
            self._names[name] = shown
        return shown

    def _object(self, value: Mapping[Any, Any], room: _Room, depth: int) -> Any:
        if depth >= DEEPEST:
            return f"({len(value)} fields)"
        made: dict[str, Any] = {}
        for number, (name, item) in enumerate(value.items()):
            if number >= room.most or room.left <= 0:
                made["…"] = f"({len(value) - number} more fields)"
                break
            shown = self._name(str(name), room)
            made[shown] = REDACTED if _is_secret(str(name), item) else self._value(item, room, depth + 1)
        return made

    def _list(self, value: list[Any], room: _Room, depth: int) -> Any:
        if depth >= DEEPEST:
            return f"({len(value)} items)"
        made: list[Any] = []
        for number, item in enumerate(value):
            if number >= room.most or room.left <= 0:
                made.append(f"({len(value) - number} more items)")
                break
            made.append(self._value(item, room, depth + 1))
        return made


class _Room:
    """How many characters may still be written, and how many looked at, and how many items a list may have."""

    def __init__(self, left: int, most: int) -> None:
        self.left = left
        self.most = most
        self.scanned = MOST_SCANNED


def _without_secrets(text: str) -> str:
    """``text`` without whatever looks like a secret."""
    lowered = text.lower() if text.isascii() else None  # outside of ASCII, letters of either case may be several
    for pattern, words, any_case in WORDS:
        within = lowered if any_case else text
        if within is None or any(word in within for word in words):
            text = pattern.sub(REDACTED, text)
    if lowered is None or any(word in lowered for word in SCHEMES):
        text = AUTHORIZATION.sub(rf"\1\2{REDACTED}", text)
    if "://" in text:
        text = URL.sub(_plain_url, text)
    if lowered is None or any(word in lowered for word in ASSIGNED_NAMES):
        text = ASSIGNED.sub(rf"\1{REDACTED}", text)
    return OPAQUE.sub(REDACTED, text) if len(text) >= SHORTEST_OPAQUE else text


def _plain_url(match: re.Match[str]) -> str:
    """A URL without what stands before the @ and behind the path."""
    scheme, rest = match.groups()
    end = re.search(r"[/?#]", rest)
    host, path = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    if "@" in host:
        host = f"{REDACTED}@{host.rpartition('@')[2]}"
    elif ":" in host and not re.search(
        r"(?:^[^:]*|\]):?[0-9]*[.,)]?$", host
    ):  # a password, cut by what is no part of it
        host = REDACTED
    cut = re.search(r"[?#](?!$)", path)  # at the very end it ends a sentence
    return f"{scheme}{host}{path[: cut.start()]}?[query removed]" if cut else f"{scheme}{host}{path}"


def _is_secret(name: str, value: Any) -> bool:
    if value is None or isinstance(value, bool) or value == "":
        return False
    if isinstance(value, str) and OWN_ID.fullmatch(value):
        return False
    return _names_a_secret(name[:200])


@lru_cache(maxsize=NAMES_REMEMBERED)
def _names_a_secret(name: str) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return bool(SECRET_NAME.search(plain)) and not NOT_SECRET_NAME.search(plain)


def _forms(secret: str) -> set[str]:
    """A secret as it is, as a Basic header's user name, and in plain base64."""
    return {
        secret,
        base64.b64encode(f"{secret}:".encode()).decode(),
        base64.b64encode(secret.encode()).decode().rstrip("="),
    }
