"""Who is calling. A key alone decides: its digest names the account, its marker the mode; no registration is needed.

What follows a ``+`` makes a further key of the same account: ``live_me`` and ``live_me+2`` see one world.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import Literal

from scale_mcp.sandbox import decisions

SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    no INTEGER PRIMARY KEY,         -- what the tables of many rows refer to
    id TEXT NOT NULL UNIQUE,
    mode TEXT NOT NULL,
    pair TEXT NOT NULL,
    tasks INTEGER NOT NULL DEFAULT 0,   -- how many were ever created
    created_at TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class Account:
    """One account's world. Two accounts never see each other's objects, not even a live key and its test twin.

    ``id`` is 24 hex digits derived from the key (it also serves as the owner in ``scaledata://`` addresses).
    ``pair`` is equal for the live and the test key of one owner: ``live_abc`` and ``test_abc``.
    ``key_id`` tells the keys of one account apart; it is the account's id for the one without a ``+``.
    """

    id: str
    key_digest: str
    mode: Literal["live", "test"]
    pair: str
    key_id: str = field(default="", compare=False)

    @property
    def is_test(self) -> bool:
        return self.mode == "test"


NOBODY = Account(id="", key_digest="", mode="test", pair="")


def account_for(key: str) -> Account | None:
    """The account of an API key, or None when it is not one (``test_…``, ``…|test`` and ``live_…`` are)."""
    test_prefix, test_suffix, live_prefix = decisions.KEY_MODES.value
    is_test = key.startswith(test_prefix) or key.endswith(test_suffix)
    first, further, name = key.partition(decisions.SEVERAL_KEYS.value)
    if further and name.endswith(test_suffix):
        first += test_suffix
    bare = first.removesuffix(test_suffix)
    bare = bare.removeprefix(test_prefix if bare.startswith(test_prefix) else live_prefix)
    if not bare or not (is_test or key.startswith(live_prefix)):
        return None
    digest, own = (hashlib.sha256(each.encode()).hexdigest() for each in (first, key))
    pair = hashlib.sha256(b"pair:" + bare.encode()).hexdigest()
    mode: Literal["live", "test"] = "test" if is_test else "live"
    return Account(id=digest[:24], key_digest=digest, mode=mode, pair=pair, key_id=own[:24])


def fingerprint(key: str) -> str:
    """The id by which the admin pages name a key without showing it. A fingerprint is left as it is."""
    account = account_for(key)
    return key if account is None else account.key_id


def account_id(key: str) -> str:
    """The id of a key's account. An id is left as it is."""
    account = account_for(key)
    return key if account is None else account.id


def key_from_header(authorization: str | None) -> str | None:
    """The user name of a Basic header: the key. The password is ignored, as Scale leaves it empty."""
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return None
