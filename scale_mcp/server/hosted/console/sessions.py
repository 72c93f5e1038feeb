"""Who is signed in at the console: a signed cookie that names a token, which is looked up again on every request."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address
from typing import Any

from scale_mcp.hosting.clock import Clock, stamp
from scale_mcp.hosting.console_tokens import ConsoleToken, ConsoleTokens

LASTS = timedelta(hours=8)
LONGEST_COOKIE = 1_000  # characters; ours have some 300
SESSION, FORM = "session", "form"
MOST_ATTEMPTS = 10  # sign-ins that one address may try in vain …
WITHIN = 600.0  # … in so many seconds
REMEMBERED = 10_000  # addresses


@dataclass(frozen=True)
class Session:
    """A session as its cookie says. ``nonce`` tells it from others of the same token."""

    token_id: str
    began_at: str
    ends_at: str
    nonce: str


@dataclass(frozen=True)
class SignedIn:
    """Who makes a request. ``form_token`` is what each of their forms must carry."""

    token: ConsoleToken
    session: Session
    form_token: str

    @property
    def actor(self) -> str:
        """As the audit trail names them."""
        return f"console:{self.token.name}"


class Sessions:
    """Begins sessions and recognises them. ``key`` is 32 secret bytes that all replicas share."""

    def __init__(self, tokens: ConsoleTokens, key: bytes, clock: Clock) -> None:
        self._tokens = tokens
        self._key = key
        self._clock = clock

    def begin(self, token: ConsoleToken) -> str:
        """The cookie of a new session."""
        now = self._clock()
        ends_at = min(stamp(now + LASTS), token.expires_at)
        content = {
            "token_id": token.id,
            "began_at": stamp(now),
            "ends_at": ends_at,
            "nonce": secrets.token_hex(16),
        }
        text = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
        return f"{text}.{self._sign(SESSION, text)}"

    async def of(self, cookie: str | None) -> SignedIn | None:
        """Who holds this cookie, if they may still be here."""
        session = self._read(cookie)
        if session is None or session.ends_at <= stamp(self._clock()):
            return None
        token = await self._tokens.of_session(session.token_id, session.began_at)
        return None if token is None else SignedIn(token, session, self.form_token(session.nonce))

    def form_token(self, nonce: str) -> str:
        """What a form must carry that is sent by whoever has this nonce in a cookie."""
        return self._sign(FORM, nonce)

    def is_own_form(self, nonce: str, given: str) -> bool:
        return hmac.compare_digest(self.form_token(nonce).encode(), given.encode("utf-8", "surrogatepass"))

    def _read(self, cookie: str | None) -> Session | None:
        if not cookie or len(cookie) > LONGEST_COOKIE:
            return None
        text, _, signature = cookie.partition(".")
        if not hmac.compare_digest(self._sign(SESSION, text).encode(), signature.encode("utf-8", "surrogatepass")):
            return None
        content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(f"{text}=="))  # ours, as its signature says
        return Session(**content)

    def _sign(self, purpose: str, text: str) -> str:
        message = f"{purpose}\n{text}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


class Attempts:
    """How often each address has tried to sign in. One that succeeds begins anew.

    In this process only: with several replicas an address has so many times as many.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._tried: OrderedDict[str, tuple[float, int]] = OrderedDict()  # since when, how often

    def take(self, peer: str) -> float:
        """Count one attempt. Gives the seconds to wait before the next when there were too many, else 0."""
        place, now = _place(peer), self._now()
        since, count = self._tried.pop(place, (now, 0))
        if now - since >= WITHIN:
            since, count = now, 0
        self._tried[place] = (since, count + 1)
        if len(self._tried) > REMEMBERED:
            self._tried.popitem(last=False)
        return max(1.0, since + WITHIN - now) if count >= MOST_ATTEMPTS else 0.0

    def forget(self, peer: str) -> None:
        self._tried.pop(_place(peer), None)


def _place(peer: str) -> str:
    """The address; of IPv6 the network, of which one subscriber has all addresses."""
    try:
        address = ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or f"{int(address) >> 64:x}::/64")
    return peer
