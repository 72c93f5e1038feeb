"""The id of the request that is being answered: in its answer, in each log line, and in the audit trail.

A hosted server gives one to every HTTP request. Elsewhere a tool call gets its own, which its log lines carry.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import mcp.types as t
import structlog

_current: ContextVar[str] = ContextVar("request_id", default="")


def request_id() -> str:
    """The id of the request in whose course this is asked; outside of one, a new id."""
    return _current.get() or secrets.token_hex(4)


@contextmanager
def identified() -> Iterator[str]:
    """What runs inside belongs to a new request, whose id this gives."""
    identity = secrets.token_hex(8)
    before = _current.set(identity)
    try:
        with structlog.contextvars.bound_contextvars(request=identity):
            yield identity
    finally:
        _current.reset(before)


def named(error: t.ErrorData) -> t.ErrorData:
    """A protocol error that carries the id of the request, where the request has one."""
    identity = _current.get()
    if not identity:
        return error
    data = error.data if isinstance(error.data, dict) else {"detail": error.data} if error.data else {}
    return t.ErrorData(code=error.code, message=error.message, data={"request_id": identity, **data})
