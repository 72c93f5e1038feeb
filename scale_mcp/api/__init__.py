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
from scale_mcp.api.results import Created, ResponseStream
from scale_mcp.api.scale import ScaleApi

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
