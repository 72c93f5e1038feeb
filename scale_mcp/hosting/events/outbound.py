"""One try of one delivery: signed, to an examined address, without redirects, and over after ten seconds."""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl
from dataclasses import dataclass
from ipaddress import IPv6Address
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
import httpx2

from scale_mcp.hosting.events.targets import Address, Resolver, Target, TargetRefused, resolve
from scale_mcp.version import version

if TYPE_CHECKING:
    from pydantic import SecretStr

SIGNATURE = "scale-mcp-signature"
DELIVERY = "scale-mcp-delivery"
TIMEOUT = 10.0  # seconds for everything: the name, the connection, the answer
TOLERANCE = 300  # seconds that a receiver should accept between the signature's time and its own


@dataclass(frozen=True)
class Answered:
    """What became of a try: the receiver's status, or the problem that kept it from answering."""

    status: int | None = None
    problem: str | None = None
    milliseconds: int = 0

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def sign(body: bytes, secret: SecretStr, at: int) -> str:
    """The value of the signature header: ``t=<seconds since 1970>,v1=<HMAC-SHA256 of "<t>.<body>", in hex>``."""
    digest = hmac.new(secret.get_secret_value().encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def is_genuine(header: str, body: bytes, secret: SecretStr, now: int, tolerance: int = TOLERANCE) -> bool:
    """What a receiver should ask about a delivery: is it ours, unchanged, and not an old one again?"""
    given = re.fullmatch(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})", header)
    if given is None or abs(now - int(given[1])) > tolerance:
        return False
    return hmac.compare_digest(sign(body, secret, int(given[1])), header)


class Outbound:
    """Makes the tries. Tests hand in a resolver or a transport; ``trust`` has other roots than the system's."""

    def __init__(
        self,
        *,
        resolve_host: Resolver = resolve,
        transport: httpx2.AsyncBaseTransport | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._resolve = resolve_host
        # A connection is never used twice: it was opened under one host's name and would be found again by its address.
        limits = httpx2.Limits(max_connections=64, max_keepalive_connections=0)
        self._transport = transport or httpx2.AsyncHTTPTransport(
            verify=trust if trust is not None else True, trust_env=False, limits=limits
        )

    async def post(self, target: Target, body: bytes, headers: dict[str, str]) -> Answered:
        """Deliver once. Raises nothing for what the network or the receiver does."""
        began = anyio.current_time()
        try:
            with anyio.fail_after(TIMEOUT):
                status = await self._status(target, body, headers)
            problem = None if 200 <= status < 300 else f"the receiver answered {status}"
        except TimeoutError:
            status, problem = None, f"no answer within {TIMEOUT:g} s"
        except TargetRefused as refusal:
            status, problem = None, str(refusal)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            status, problem = None, f"no answer: {str(error)[:200] or type(error).__name__}"
        return Answered(status, problem, round((anyio.current_time() - began) * 1000))

    async def _status(self, target: Target, body: bytes, headers: dict[str, str]) -> int:
        addresses = await target.addresses(self._resolve)
        for address in addresses[:-1]:
            try:
                return await self._send(target, address, body, headers)
            except httpx2.ConnectError:  # nothing was sent yet
                continue
        return await self._send(target, addresses[-1], body, headers)

    async def _send(self, target: Target, address: Address, body: bytes, headers: dict[str, str]) -> int:
        place = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
        request = httpx2.Request(
            "POST",
            f"{target.scheme}://{place}:{target.port}{target.path}",
            content=body,
            headers={
                "host": target.authority,
                "content-type": "application/json",
                "user-agent": f"scale-mcp/{version()}",
                **headers,
            },
            # The certificate must be the host's, not the address's.
            extensions={"sni_hostname": target.host, "timeout": httpx2.Timeout(TIMEOUT).as_dict()},
        )
        response = await self._transport.handle_async_request(request)
        await response.aclose()  # only the status matters, so the body is not read
        return response.status_code

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
