"""The last line: no exception's text reaches a client, in either protocol era.

On connections older than 2026-07-28 the SDK answers an unexpected exception with its full text. Handlers are wrapped
one by one, because a ``ValidationError`` of theirs would pass for a malformed request; the middleware catches what
is raised anywhere else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

import mcp.types as t
from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from pydantic import ValidationError

from scale_mcp.api.errors import InvalidRequest, NotFound, RefusedBeforeSending, ScaleError
from scale_mcp.server.logs import get_logger
from scale_mcp.server.request_ids import request_id
from scale_mcp.tools.card import ToolFailure

log = get_logger(__name__)

Context = ServerRequestContext[Any, Any]
Params = TypeVar("Params")
Answer = TypeVar("Answer")


def guarded(handler: Callable[[Context, Params], Awaitable[Answer]]) -> Callable[[Context, Params], Awaitable[Answer]]:
    """A handler that raises nothing but ``MCPError``. Expected failures keep their words, others lose them."""

    @wraps(handler)
    async def guard(ctx: Context, params: Params) -> Answer:
        try:
            return await handler(ctx, params)
        except MCPError:
            raise
        except (ToolFailure, RefusedBeforeSending, InvalidRequest, NotFound) as problem:
            raise MCPError(code=t.INVALID_PARAMS, message=str(problem)) from None
        except ScaleError as problem:
            raise MCPError(code=t.INTERNAL_ERROR, message=str(problem)) from None
        except Exception:
            raise internal_error(ctx.method) from None

    return guard


async def catch_all(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Outermost middleware. The SDK's own two kinds of error pass; it words them without leaking."""
    try:
        return await call_next(ctx)
    except (MCPError, ValidationError):
        raise
    except Exception:
        raise internal_error(ctx.method) from None


def internal_error(method: str) -> MCPError:
    """Log the exception being handled under the request's id, and make the answer that carries only the id."""
    identity = request_id()
    log.exception("request_crashed", method=method, request=identity)
    return MCPError(
        code=t.INTERNAL_ERROR,
        message=f"Internal error; the operator finds it in the log under {identity}.",
        data={"request_id": identity},
    )
