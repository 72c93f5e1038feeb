"""Turning what is known into pages: everything escaped, cleaned of what nobody sees, and without what looks secret."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import jinja2
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from scale_mcp.hosting.clock import moment
from scale_mcp.server.logs import Redactor
from scale_mcp.text import cap, clean
from scale_mcp.version import version

if TYPE_CHECKING:
    from scale_mcp.hosting.clock import Clock

POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser would not say where a form comes from
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
NEVER_STORED = {"Cache-Control": "no-store"}
STATIC = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
QUERY_GONE = "?[query removed]"
LONGEST_TEXT = 20_000  # characters of one value on a page
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))

_without_secrets = Redactor()  # they never get as far as here; a text that somebody typed may hold one all the same


class Renderer:
    """Makes pages of templates."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("scale_mcp.server.hosted.console"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            ago=self._ago, until=self._until, day_time=day_time, number=number, pretty=pretty, query=query
        )
        self._environment.globals.update(version=version(), static=static_address)

    def page(
        self,
        template: str,
        status: HTTPStatus = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
        **content: Any,
    ) -> Response:
        text = self._environment.get_template(template).render(content)
        return HTMLResponse(text, status, {**HEADERS, **NEVER_STORED, **(headers or {})})

    def _ago(self, stamped: str) -> str:
        return f"{_spoken((self._clock() - moment(stamped)).total_seconds())} ago"

    def _until(self, stamped: str) -> str:
        return f"in {_spoken((moment(stamped) - self._clock()).total_seconds())}"


def shown(value: Any) -> Any:
    """What stands on a page for the value of an expression. Markup is what a template of ours made."""
    if value is None:
        return ""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    text = clean(value).replace(QUERY_GONE, "\0")  # so that what the trail took out is not taken for a query
    return cap(_without_secrets(text).replace("\0", QUERY_GONE), LONGEST_TEXT)


def day_time(stamped: str) -> str:
    """``2026-11-22 02:15:08`` in UTC, of what ``stamp`` or Scale wrote; another text stays as it is."""
    try:
        found = datetime.fromisoformat(stamped)
    except ValueError:
        return stamped
    return f"{found if found.tzinfo is None else found.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def number(value: float) -> str:
    """With separators: ``12,345``."""
    return f"{value:,}"


def pretty(value: Any) -> str:
    """A JSON value over several lines."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def query(values: Mapping[str, Any]) -> str:
    """``?persona=ada&tool=…`` of those that are set; nothing when none is."""
    given = {name: value for name, value in values.items() if value not in (None, "")}
    return f"?{urlencode(given)}" if given else ""


def _spoken(seconds: float) -> str:
    whole = max(0, int(seconds))
    for size, unit in UNITS:
        if whole >= size:
            return f"{whole // size} {unit}"
    return "0 s"


@cache
def static_files() -> Mapping[str, bytes]:
    folder = files("scale_mcp.server.hosted.console") / "static"
    return {name: (folder / name).read_bytes() for name in STATIC}


@cache
def static_address(name: str) -> str:
    """Where a file is, with a mark of its content: another content has another address."""
    return f"/console/static/{name}?v={hashlib.sha256(static_files()[name]).hexdigest()[:12]}"


def static_answer(name: str) -> Response | None:
    """The file of this name; None when there is none."""
    if name not in STATIC:
        return None
    headers = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
    return Response(static_files()[name], media_type=STATIC[name], headers=headers)
