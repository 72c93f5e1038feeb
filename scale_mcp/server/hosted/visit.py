"""The request that is being answered, and whose it is. Handlers ask here, never a session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.types import Scope

from scale_mcp.hosting.sign_in import SignedIn


@dataclass
class Visit:
    """One request of a verified caller.

    ``signed_in`` is as of the request's beginning; while the request is an open stream it is kept up to date.
    ``peer`` is the address it came from, behind the trusted proxies.
    """

    signed_in: SignedIn
    peer: str


_visit: ContextVar[Visit | None] = ContextVar("visit", default=None)


def current_visit() -> Visit | None:
    """The request in whose course this is asked; None outside of one that came through the gate."""
    return _visit.get()


@contextmanager
def during(visit: Visit) -> Iterator[None]:
    """What runs inside belongs to this visit."""
    before = _visit.set(visit)
    try:
        yield
    finally:
        _visit.reset(before)


def peer_address(scope: Scope, trusted_hops: int) -> str:
    """Where a request came from.

    Of X-Forwarded-For only the entry that the outermost of ``trusted_hops`` proxies wrote is believed: everything
    before it can have been made up. With too few entries the request did not come through them.
    """
    client = scope.get("client")
    peer = str(client[0]) if client else ""
    if trusted_hops:
        listed = [
            entry.strip() for value in Headers(scope=scope).getlist("x-forwarded-for") for entry in value.split(",")
        ]
        if len(listed) >= trusted_hops:
            return _address(listed[-trusted_hops]) or peer
    return peer


def _address(text: str) -> str | None:
    """``203.0.113.5``, ``203.0.113.5:4711``, ``2001:db8::1`` and ``[2001:db8::1]:4711`` without their port."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def visit_of_this_request() -> Visit:
    """The same, where there must be one: everything that persona's requests reach is behind the gate."""
    visit = _visit.get()
    if visit is None:
        raise PermissionError("a request reached a persona's desk without having come through the gate")
    return visit
