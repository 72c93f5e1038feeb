"""Tokens of the authorization server: JWTs that it signed, for this server, for somebody who is one of our personas.

This server is a resource server only. It checks a token by itself, with the issuer's public keys; it never asks for
passwords, never passes a token on, and makes none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from jwt import PyJWS, PyJWTError

from scale_mcp.hosting.clock import Clock, utc_now
from scale_mcp.hosting.sign_in import Login, NotSignedIn
from scale_mcp.setting_rules import ALGORITHMS
from scale_mcp.text import one_line

if TYPE_CHECKING:
    from scale_mcp.hosting.issuer import Issuer

LEEWAY = timedelta(seconds=30)  # by which two clocks may differ
LONGEST_NAME = 200  # characters of a user or client
MOST_SIGNATURES_TRIED = 4  # keys of one id
ACCESS_TOKEN_TYPES = ("at+jwt", "application/at+jwt", "jwt", "application/jwt", "")


@dataclass(frozen=True)
class Demands:
    """What a token must say. Audiences: one of them; scopes: all of them."""

    audiences: tuple[str, ...]
    persona_claim: str
    user_claim: str = "sub"
    scopes: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ALGORITHMS


class LoginVerifier:
    """Checks the tokens of one issuer."""

    def __init__(self, issuer: Issuer, demands: Demands, clock: Clock = utc_now) -> None:
        self._issuer = issuer
        self._demands = demands
        self._clock = clock
        self._signatures = PyJWS()

    async def verify(self, token: str) -> Login:
        """What a good token says. Raises ``NotSignedIn``, and ``CannotTell`` without the issuer's keys."""
        header = self._header(token)
        keys = await self._issuer.keys(header.get("kid"), header["alg"])
        claims = self._signed_claims(token, header["alg"], [key.public for key in keys])
        expires_at = self._check_meaning(claims)
        return Login(
            issuer=self._issuer.url,
            personas=self._names(claims),
            user=self._name(claims, self._demands.user_claim),
            client=self._name(claims, "client_id" if "client_id" in claims else "azp", needed=False),
            expires_at=expires_at,
        )

    def _header(self, token: str) -> Mapping[str, Any]:
        """The token's head, which anybody may have written: it only selects among what we would accept."""
        try:
            header = self._signatures.get_unverified_header(token)
        except (PyJWTError, ValueError, RecursionError):
            raise NotSignedIn("the token cannot be read") from None
        if header.get("alg") not in self._demands.algorithms:
            raise NotSignedIn("the token is not signed in an accepted way (alg)")
        if str(header.get("typ") or "").lower() not in ACCESS_TOKEN_TYPES:
            raise NotSignedIn("the token is of another type than an access token (typ)")
        if "crit" in header:
            raise NotSignedIn("the token demands to be understood in a way that is not (crit)")
        return header

    def _signed_claims(self, token: str, algorithm: str, keys: list[Any]) -> Mapping[str, Any]:
        for key in keys[:MOST_SIGNATURES_TRIED]:
            try:
                content = self._signatures.decode_complete(token, key, algorithms=[algorithm])["payload"]
                claims = json.loads(content)
            except (PyJWTError, ValueError, TypeError, RecursionError):
                continue
            if isinstance(claims, dict):
                return claims
        raise NotSignedIn("the token is signed with no key that the issuer publishes")

    def _check_meaning(self, claims: Mapping[str, Any]) -> datetime:
        """For us, by the issuer, at this time, for whoever bears it. Gives the moment the token ends."""
        if claims.get("iss") != self._issuer.url:
            raise NotSignedIn("the token is of another issuer (iss)")
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if not any(wanted in audiences for wanted in self._demands.audiences):
            raise NotSignedIn("the token was made for another server (aud)")
        if "cnf" in claims:
            raise NotSignedIn("the token is bound to a key of its client, of which there is no proof (cnf)")
        now = self._clock()
        expires_at = _moment(claims.get("exp"))
        if expires_at is None or now >= expires_at + LEEWAY:
            raise NotSignedIn("the token has expired, or does not say when it does (exp)")
        for name in ("nbf", "iat"):
            begins = _moment(claims.get(name))
            if name in claims and (begins is None or now < begins - LEEWAY):
                raise NotSignedIn(f"the token is of a time to come ({name})")
        missing = tuple(scope for scope in self._demands.scopes if scope not in _words(claims, "scope", "scp"))
        if missing:
            raise NotSignedIn("the token lacks scopes", missing)
        return expires_at

    def _names(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        """A text is one name, or several words that are names each, as in ``scope``."""
        whole = claims.get(self._demands.persona_claim)
        names = _words(claims, self._demands.persona_claim)
        if not names:
            raise NotSignedIn("the token names no persona")
        return tuple(dict.fromkeys([whole, *names])) if isinstance(whole, str) else names

    def _name(self, claims: Mapping[str, Any], claim: str, *, needed: bool = True) -> str:
        value = claims.get(claim)
        if value is None and not needed:
            return ""
        # What would have to be changed to be written in a log could come to look like somebody else.
        if not isinstance(value, str) or not value or one_line(value, LONGEST_NAME) != value:
            raise NotSignedIn(f"the token's claim {claim} names nobody")
        return value


def _words(claims: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    """The words of claims that are text or a list of texts, each once."""
    words: list[str] = []
    for name in names:
        value = claims.get(name)
        words += value.split() if isinstance(value, str) else []
        words += [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
    return tuple(dict.fromkeys(words))


def _moment(value: Any) -> datetime | None:
    """Seconds since 1970 as a time; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        return None
