"""Delivery of one callback over HTTP. What to send, when, and what a failure means: the engine knows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2

from scale_mcp.sandbox.http import LOOPBACK

# Seconds to wait before retry 1 … 20. Scale promises "up to 20 retries over the next 24 hours" and no spacing: quick at
# first for a receiver that is restarting, then at most every two hours; all twenty fit into 24 hours.
RETRY_DELAYS: tuple[float, ...] = (
    *(30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 1800.0, 1800.0, 3600.0, 3600.0),
    *(3600.0, 3600.0, 5400.0, 5400.0, 7200.0, 7200.0, 7200.0, 7200.0, 7200.0, 7200.0),
)


@dataclass(frozen=True)
class Attempt:
    """What became of one try: delivered, refused by the receiver (``status``), failed (``error``), or never sent."""

    status: int | None = None
    error: str | None = None
    delivered: bool = False
    skipped: bool = False  # not an address we deliver to: an e-mail address, another scheme, a host off the list


def is_email(address: str) -> bool:
    """Callbacks may go to an e-mail address instead of a URL."""
    return "@" in address and "://" not in address


class Courier:
    """POSTs callbacks as Scale does: JSON, the ``scale-callback-auth`` header, any 2xx is success, redirects are not.

    A sandbox that posted to any URL found in a task would be a tool for reaching other people's machines, so only the
    hosts on the list are ever contacted.
    """

    def __init__(
        self,
        auth: str,
        hosts: Collection[str] = LOOPBACK,
        timeout: float = 10,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._auth, self._timeout, self._transport = auth, timeout, transport
        self._hosts = frozenset(host.strip("[]").lower() for host in hosts)
        self._client: httpx2.AsyncClient | None = None

    def refusal(self, url: str) -> str | None:
        """Why nothing is sent to this address, or None when it may be contacted."""
        if is_email(url):
            return "an e-mail address: the sandbox keeps the message in its outbox"
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").lower()
            _ = parts.port  # raises on nonsense
        except ValueError as error:
            return f"not a URL: {error}"
        if parts.scheme not in ("http", "https") or not host:
            return "not an http or https URL"
        if host not in self._hosts:
            return f"the host {host} is not on the sandbox's list of callback hosts"
        return None

    async def deliver(self, url: str, body: dict[str, Any]) -> Attempt:
        """One try. Never raises for what the receiver or the network does."""
        refusal = self.refusal(url)
        if refusal is not None:
            return Attempt(error=refusal, skipped=True)
        if self._client is None:
            # trust_env off: a proxy from the environment would carry the request past the list of hosts.
            self._client = httpx2.AsyncClient(
                transport=self._transport, timeout=self._timeout, follow_redirects=False, trust_env=False
            )
        try:
            with anyio.fail_after(self._timeout):
                request = self._client.build_request(
                    "POST", url, json=body, headers={"scale-callback-auth": self._auth}
                )
                response = await self._client.send(request, stream=True)
                await response.aclose()  # only the status matters, so the body is not read
        except TimeoutError:
            return Attempt(error=f"no answer within {self._timeout:g} s")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            return Attempt(error=str(error) or type(error).__name__)
        delivered = 200 <= response.status_code < 300
        error_text = None if delivered else f"the receiver answered {response.status_code}"
        return Attempt(status=response.status_code, error=error_text, delivered=delivered)

    async def aclose(self) -> None:
        """Close the connections. A courier may be used again afterwards."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
