"""The authorization server's public keys: fetched from it alone, kept for minutes, forgotten when it forgets them.

Where the keys are is told by the server's metadata, unless the operator says it. Nothing in a token has a say in what
is fetched: a token names at most the id of a key that the server must have published.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

from scale_mcp.hosting.clock import Clock, utc_now
from scale_mcp.hosting.sign_in import CannotTell

log = logging.getLogger(__name__)

LIFETIME = timedelta(
    minutes=5
)  # after which the keys are fetched again, so that a withdrawn one is not accepted longer
PATIENCE = timedelta(hours=1)  # how long keys are used while the server does not answer
PAUSE = timedelta(seconds=30)  # between two fetches, whoever asks for unknown keys
FIRST_PAUSE = timedelta(seconds=5)  # between two fetches while no keys are known at all
TIME_LIMIT = 5.0  # seconds for one document
LARGEST_DOCUMENT = 256 * 1024  # bytes
MOST_KEYS = 50
SMALLEST_RSA_KEY = 2048  # bits
RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
CURVES = {("EC", "P-256"): "ES256", ("EC", "P-384"): "ES384", ("EC", "P-521"): "ES512", ("OKP", "Ed25519"): "EdDSA"}


class Unusable(Exception):
    """A document that cannot be fetched or that says what it must not. The text says which and why."""


@dataclass(frozen=True)
class Key:
    """A public key, and the signatures it is for."""

    id: str | None
    algorithms: frozenset[str]
    public: Any


class Issuer:
    """One authorization server. ``url`` is its issuer identifier; ``jwks_url`` says where its keys are, if given."""

    def __init__(
        self,
        url: str,
        jwks_url: str | None = None,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self.url = url
        self._jwks_url = jwks_url
        self._transport = transport
        self._clock = clock
        self._turn = anyio.Lock()
        self._keys: tuple[Key, ...] = ()
        self._fetched: datetime | None = None
        self._tried: datetime | None = None

    async def keys(self, key_id: str | None, algorithm: str) -> list[Key]:
        """The published keys of this id that make such signatures; without an id, the only key that does.

        Unknown ids have the keys fetched again, at most every ``PAUSE``. Raises ``CannotTell`` when the server has not
        answered for too long.
        """
        now = self._clock()
        if self._fetched is None or now - self._fetched >= LIFETIME:
            await self._refresh(wait=self._fetched is None)
        found = self._matching(key_id, algorithm)
        if not found:
            await self._refresh(wait=True)
            found = self._matching(key_id, algorithm)
        if self._fetched is None or now - self._fetched >= PATIENCE:
            raise CannotTell(f"the keys of {self.url} cannot be fetched")
        return found

    def _matching(self, key_id: str | None, algorithm: str) -> list[Key]:
        fit = [key for key in self._keys if algorithm in key.algorithms]
        if key_id is None:
            return fit if len(fit) == 1 else []
        return [key for key in fit if key.id == key_id]

    async def _refresh(self, *, wait: bool) -> None:
        """Fetch the keys, one fetch at a time. Without ``wait``, go on when somebody else is at it."""
        if self._turn.locked() and not wait:
            return
        async with self._turn:
            now = self._clock()
            pause = PAUSE if self._fetched is not None else FIRST_PAUSE
            if self._tried is not None and now - self._tried < pause:
                return
            self._tried = now
            try:
                self._keys = await self._fetch()
                self._fetched = now
            except Unusable as problem:
                log.warning("The keys of the authorization server %s cannot be used: %s", self.url, problem)

    async def _fetch(self) -> tuple[Key, ...]:
        secure = self.url.startswith("https:")
        limits = httpx2.Timeout(TIME_LIMIT)
        async with httpx2.AsyncClient(
            transport=self._transport, trust_env=secure, follow_redirects=False, timeout=limits
        ) as client:
            document = await _json(client, self._jwks_url or await self._discovered(client))
        listed = document.get("keys")
        if not isinstance(listed, list) or len(listed) > MOST_KEYS:
            raise Unusable("its key set holds no list of keys, or too many")
        keys = tuple(key for item in listed if (key := _key(item)) is not None)
        if not keys:
            raise Unusable("its key set holds no key to check signatures with")
        return keys

    async def _discovered(self, client: httpx2.AsyncClient) -> str:
        """The address of the keys, from the server's metadata. It must be the server's own."""
        parts = urlsplit(self.url)
        origin = f"{parts.scheme}://{parts.netloc}"
        path = parts.path.rstrip("/")
        problems = []
        for address in (
            f"{origin}{path}/.well-known/openid-configuration",
            f"{origin}/.well-known/oauth-authorization-server{path}",
        ):
            try:
                metadata = await _json(client, address)
            except Unusable as problem:
                problems.append(str(problem))
                continue
            if metadata.get("issuer") != self.url:
                raise Unusable(f"{address} is the metadata of another issuer; --oauth-issuer must be what it says")
            found = metadata.get("jwks_uri")
            if not isinstance(found, str) or not _same_origin(found, origin):
                raise Unusable(
                    f"{address} says that its keys are elsewhere; if that is right, name the place by --oauth-jwks-url"
                )
            return found
        raise Unusable("; ".join(problems))


def _same_origin(address: str, origin: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return f"{parts.scheme}://{parts.netloc}".lower() == origin.lower()


async def _json(client: httpx2.AsyncClient, address: str) -> Mapping[str, Any]:
    """A JSON object from exactly this address, of a bounded size and within a bounded time."""
    content = bytearray()
    try:
        with anyio.fail_after(TIME_LIMIT):
            async with client.stream("GET", address, headers={"Accept": "application/json"}) as answer:
                if answer.status_code != 200:
                    raise Unusable(f"{address} answered {answer.status_code}")
                async for chunk in answer.aiter_bytes():
                    content += chunk
                    if len(content) > LARGEST_DOCUMENT:
                        raise Unusable(f"{address} answered with more than {LARGEST_DOCUMENT} bytes")
    except TimeoutError:
        raise Unusable(f"{address} did not answer within {TIME_LIMIT:g} s") from None
    except httpx2.HTTPError as problem:
        raise Unusable(f"{address} cannot be reached ({type(problem).__name__})") from None
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Unusable(f"{address} did not answer with a JSON object")
    return document


def _key(item: Any) -> Key | None:
    """A key that checks signatures; None for others, secret ones and weak ones among them."""
    if not isinstance(item, dict) or item.get("use", "sig") != "sig":
        return None
    operations = item.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    key_id, stated = item.get("kid"), item.get("alg")
    able = _algorithms(item.get("kty"), item.get("crv"))
    algorithms = able if stated is None else able & {str(stated)}
    if not algorithms or not isinstance(key_id, str | None):
        return None
    public = {name: value for name, value in item.items() if name in ("kty", "crv", "x", "y", "n", "e")}
    try:
        made = PyJWK(public, algorithm=min(algorithms)).key
    except (PyJWTError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if isinstance(made, RSAPublicKey) and made.key_size < SMALLEST_RSA_KEY:
        return None
    return Key(key_id, algorithms, made)


def _algorithms(kind: Any, curve: Any) -> frozenset[str]:
    if kind == "RSA":
        return RSA
    return frozenset(algorithm for known, algorithm in CURVES.items() if known == (kind, curve))
