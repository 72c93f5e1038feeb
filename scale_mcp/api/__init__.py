"""The thin async HTTP layer: how Scale wants things on the wire, and how to be safe there."""

from scale_mcp.api.errors import (
    Conflict,
    ConnectionFailed,
    DeadlineExceeded,
    Forbidden,
    InvalidRequest,
    NotEnabled,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    RefusedBeforeSending,
    ScaleError,
    ServerError,
    TooLarge,
    Unauthorized,
    UnexpectedAnswer,
)
from scale_mcp.api.options import ApiOptions
from scale_mcp.api.scale import ScaleApi
from scale_mcp.api.task_creation import Created
from scale_mcp.api.transfer import ResponseStream

__all__ = [
    "ApiOptions",
    "Conflict",
    "ConnectionFailed",
    "Created",
    "DeadlineExceeded",
    "Forbidden",
    "InvalidRequest",
    "NotEnabled",
    "NotFound",
    "OutcomeUnknown",
    "RateLimited",
    "RefusedBeforeSending",
    "ResponseStream",
    "ScaleApi",
    "ScaleError",
    "ServerError",
    "TooLarge",
    "Unauthorized",
    "UnexpectedAnswer",
]
