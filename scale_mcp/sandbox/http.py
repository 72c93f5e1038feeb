"""The sandbox's own small HTTP vocabulary: a request, a reply, an error and a router over the raw path.

A web framework decodes the path before it routes, so a project named ``a/b`` would fall apart into two
segments. Scale's API takes names percent-encoded as one segment, hence this router.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from scale_mcp.sandbox import decisions

if TYPE_CHECKING:
    from scale_mcp.sandbox.accounts import Account
    from scale_mcp.sandbox.sandbox import Sandbox

SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
LOOPBACK = ("localhost", "127.0.0.1", "::1", "sandbox.localhost")  # names that only this machine answers to
TRUE, FALSE = {"true", "1", "yes"}, {"false", "0", "no", ""}


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class ApiError(Exception):
    """A refusal in Scale's error shape: ``{"status_code": 404, "error": "…"}``."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers or {}

    def reply(self) -> Reply:
        return Reply({"status_code": self.status, "error": self.text}, status=self.status, headers=self.headers)


def invalid(reason: str) -> ApiError:
    """The 400 of a parameter that is wrong, in Scale's words."""
    return ApiError(400, f"Parameter is invalid, reason: {reason}")


def required(name: str) -> ApiError:
    return invalid(f'"{name}" is required')


@dataclass
class Request:
    """One request as a handler sees it. ``params`` are the decoded path segments, ``query`` keeps repeats.

    ``headers`` have lower-case names. On admin paths without a key the account is ``accounts.NOBODY``.
    """

    sandbox: Sandbox
    account: Account
    method: str
    path: str
    params: dict[str, str]
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    base_url: str  # scheme://host[:port]/v1 as the caller addressed us; result URLs are built on it

    def json(self, empty: Any = None) -> Any:
        """The decoded body. The official client sends no body at all for ``{}`` and ``[]``: ``empty`` stands in."""
        if not self.body.strip():
            return {} if empty is None else empty
        try:
            value = json.loads(self.body, parse_constant=_no_constant)
            if SURROGATE.search(self.body):  # half a character cannot be stored, nor sent back
                json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise ApiError(400, f"Invalid JSON in the request body: {error}") from None
        return value

    def object(self) -> dict[str, Any]:
        """The body as a JSON object without its null members (nulls mean "not given")."""
        body = self.json({})
        if not isinstance(body, dict):
            raise ApiError(400, "The request body must be a JSON object.")
        return {key: value for key, value in body.items() if value is not None}

    def one(self, name: str) -> str | None:
        values = self.query.get(name)
        return values[-1] if values else None

    def many(self, name: str) -> list[str]:
        """A query list, given as repeated keys or comma-joined."""
        return [part for value in self.query.get(name, []) for part in value.split(",") if part]

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.one(name)
        if value is None:
            return default
        if value.lower() in TRUE:
            return True
        if value.lower() in FALSE:
            return False
        raise invalid(f'"{name}" must be a boolean')

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        value = self.one(name)
        if value is None or value == "":
            return default
        if not re.fullmatch(r"-?\d{1,18}", value) or not low <= int(value) <= high:
            text = f'Parameter is invalid, reason: "{name}" must be an integer from {low} to {high}'
            raise ApiError(decisions.LIMIT_OUT_OF_RANGE.value, text)
        return int(value)


@dataclass
class Reply:
    """What a handler returns: a JSON value, or ready bytes with their content type."""

    content: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json; charset=utf-8"
    cut_after: int | None = None  # a fault: send only so many bytes of the body, then drop the connection; -1: nothing

    def encode(self) -> bytes:
        if isinstance(self.content, bytes):
            return self.content
        return json.dumps(self.content, ensure_ascii=False, separators=(",", ":")).encode()


# A synchronous handler of anything but GET runs in one transaction, undone when it raises. An asynchronous one sees to
# its own transactions, and never awaits inside of them.
Handler = Callable[[Request], Reply | Awaitable[Reply]]


@dataclass(frozen=True)
class Route:
    """One operation. ``template`` is relative to /v1, e.g. ``/task/{task_id}/tags``; ``summary`` feeds OpenAPI.

    Templates of admin routes start with ``/_sandbox/`` and stand alone, without /v1.
    """

    method: str
    template: str
    handler: Handler
    name: str
    summary: str = ""


class Router:
    """Matches method and raw (still encoded) path against the templates."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = list(routes)
        self._patterns = [(route, self._pattern(route.template)) for route in self.routes]

    @staticmethod
    def _pattern(template: str) -> re.Pattern[str]:
        return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template)))

    def match(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
        """The route and its decoded parameters. Literal templates win over placeholders by their order."""
        known = False
        for route, pattern in self._patterns:
            found = pattern.fullmatch(raw_path)
            if found is None:
                continue
            if route.method == method:
                return route, {name: unquote(value) for name, value in found.groupdict().items()}
            known = True
        raise ApiError(405, "Method not allowed.") if known else ApiError(404, "Not found.")
