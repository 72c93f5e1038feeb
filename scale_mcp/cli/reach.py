"""Is there an API at the address? One request without a key tells network, TLS, Scale, latency and clock apart."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

TIMEOUT = 10.0  # seconds for each part of the request


@dataclass(frozen=True)
class Reach:
    """What came back. ``failure`` is set when nothing did; ``skew`` is our clock minus theirs, in seconds."""

    seconds: float = 0.0
    status: int | None = None
    looks_like_scale: bool = False
    skew: float | None = None
    failure: str | None = None
    cure: str = ""


async def reach(url: str) -> Reach:
    """Ask for a list without a key: Scale's API answers 401 in JSON, which proves everything but the key."""
    import httpx2

    async with httpx2.AsyncClient(timeout=TIMEOUT, follow_redirects=False) as client:
        started = time.monotonic()
        try:
            answer = await client.get(f"{url}/projects", headers={"accept": "application/json"})
        except httpx2.HTTPError as error:
            failure, cure = explain(error, url)
            return Reach(time.monotonic() - started, failure=failure, cure=cure)
        seconds = time.monotonic() - started
    return Reach(
        seconds=seconds,
        status=answer.status_code,
        looks_like_scale=answer.status_code in (401, 403, 429) and "json" in answer.headers.get("content-type", ""),
        skew=_skew(answer.headers.get("date"), seconds),
    )


def explain(error: BaseException, url: str) -> tuple[str, str]:
    """A failed request in the words of whoever has to mend it: what happened, and the cure."""
    parts = urlsplit(url)
    host, port = parts.hostname or url, parts.port or (443 if parts.scheme == "https" else 80)
    causes = list(_causes(error))
    names = {type(cause).__name__ for cause in causes}
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return (
            f"the name {host} could not be resolved",
            "Check the spelling of SCALE_API_URL, the network, and whether a VPN or a proxy is needed.",
        )
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"{host} showed a certificate that is not trusted ({cause.verify_message})",
                "If a proxy inspects traffic here, point SSL_CERT_FILE at its root certificate; "
                "else check this computer's clock, and that the address is right.",
            )
        if isinstance(cause, ssl.SSLError):
            return (
                f"{host}:{port} does not speak TLS as expected ({cause.reason})",
                "Check https and port in SCALE_API_URL; a plain http sandbox is http://127.0.0.1:8787/v1.",
            )
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return (
            f"nothing listens on {host}:{port}",
            "Start it (`scale-mcp sandbox`, if it is the sandbox), or correct SCALE_API_URL.",
        )
    if any("Timeout" in name for name in names):
        return (
            f"{host}:{port} did not answer within {TIMEOUT:.0f} seconds",
            "A firewall may be dropping the traffic. Allow outgoing HTTPS to it, or set HTTPS_PROXY.",
        )
    if any("Proxy" in name for name in names):
        return "the proxy did not let the request through", "Check HTTPS_PROXY and NO_PROXY."
    return (
        f"no connection to {host}:{port} ({causes[-1]})",
        "Check the network, the firewall and SCALE_API_URL.",
    )


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and len(found) < 10:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found


def _skew(header: str | None, seconds: float) -> float | None:
    """Our clock minus the server's. The header is cut to whole seconds and half the way back is spent travelling."""
    try:
        theirs = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    return (datetime.now(UTC) - theirs).total_seconds() - 0.5 - seconds / 2
