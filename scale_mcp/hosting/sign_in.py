"""Who is signed in: the one place where a bearer token becomes a caller, or does not.

A token is one of the server's own (``smcp_…``), or one that the authorization server signed. Whatever else is sent, a
Scale key among it, is refused. Nothing is remembered between requests.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.exc import SQLAlchemyError

from scale_mcp.hosting.tokens import PREFIX

if TYPE_CHECKING:
    from scale_mcp.hosting.personas import Caller

OWN_TOKENS = "scale-mcp"  # stands where the issuer of other tokens stands
LONGEST_TOKEN = 16_384  # characters
MOST_NAMES = 200  # that one token's claim may hold; some say all groups of a user


class NotSignedIn(Exception):
    """Nobody is signed in with that token. The text is for the operator's log, never for the caller.

    ``missing_scopes``: the token is good, but lacks these.
    """

    def __init__(self, why: str, missing_scopes: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.missing_scopes = missing_scopes


class CannotTell(Exception):
    """Whether somebody is signed in cannot be found out now: the store or the authorization server does not answer."""


@dataclass(frozen=True)
class Login:
    """What a verified token of the authorization server says. ``personas`` are the names its claim holds."""

    issuer: str
    personas: tuple[str, ...]
    user: str
    client: str
    expires_at: datetime


@dataclass(frozen=True)
class SignedIn:
    """A verified caller. ``issuer`` is ``OWN_TOKENS`` or the authorization server; None as a time: it does not end."""

    caller: Caller
    issuer: str
    expires_at: datetime | None

    @property
    def principal(self) -> tuple[str, str, str]:
        """Whom sessions belong to: the persona's id, who vouches, and the user. Tokens come and go, it stays."""
        return self.caller.persona.id, self.issuer, self.caller.user


class Callers(Protocol):
    """What ``Directory`` offers here."""

    async def find(self, token: str) -> Caller | None: ...

    async def callers_for(self, values: Collection[str], user: str, client: str = "") -> list[Caller]: ...

    async def revision(self) -> int: ...


class Logins(Protocol):
    """What ``oauth.LoginVerifier`` offers here."""

    async def verify(self, token: str) -> Login:
        """Raises ``NotSignedIn`` and ``CannotTell``."""


class SignIn:
    """Turns bearer tokens into callers. ``logins`` is None where no authorization server is trusted."""

    def __init__(self, callers: Callers, logins: Logins | None = None) -> None:
        self._callers = callers
        self._logins = logins

    async def verify(self, token: str) -> SignedIn:
        """Who is signed in with this token, as of now. Raises ``NotSignedIn`` and ``CannotTell``."""
        if len(token) > LONGEST_TOKEN:
            raise NotSignedIn("the token is too long to be one")
        try:
            if token.startswith(PREFIX):
                return await self._by_own_token(token)
            if self._logins is not None and token.count(".") == 2:
                return await self._by_login(await self._logins.verify(token))
        except (SQLAlchemyError, OSError) as problem:
            raise CannotTell(f"the store does not answer ({type(problem).__name__})") from None
        raise NotSignedIn("it is no token of this server")

    async def revision(self) -> int:
        """Grows whenever a persona or token changed: callers found at another number have to be looked up again.

        Raises ``CannotTell``.
        """
        try:
            return await self._callers.revision()
        except (SQLAlchemyError, OSError) as problem:
            raise CannotTell(f"the store does not answer ({type(problem).__name__})") from None

    async def _by_own_token(self, token: str) -> SignedIn:
        caller = await self._callers.find(token)
        if caller is None:
            raise NotSignedIn("the token is unknown, expired or revoked, or its persona is disabled")
        return SignedIn(caller, OWN_TOKENS, caller.expires_at)

    async def _by_login(self, login: Login) -> SignedIn:
        """The names must mean one persona: which of two is meant is not for us to guess."""
        if len(login.personas) > MOST_NAMES:
            raise NotSignedIn(f"the token's claim holds more than {MOST_NAMES} names")
        found = await self._callers.callers_for(login.personas, login.user, login.client)
        if len(found) != 1:
            raise NotSignedIn(f"the token names {len(found)} enabled personas of this server, and must name one")
        return SignedIn(found[0], login.issuer, login.expires_at)
