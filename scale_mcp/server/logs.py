"""Log lines: structured, to stderr, and without secrets.

stdout belongs to the protocol. Redaction looks at the finished line, so it covers messages, fields and tracebacks
of every library alike: known secrets, whatever looks like a Scale key, a token or an authorization header, and the
query of every URL (signed URLs carry their secret there).
"""

from __future__ import annotations

import base64
import logging
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

REDACTED = "[redacted]"
KEY = re.compile(r"\b(?:live|test)_[A-Za-z0-9]{12,}\b")
TOKEN = re.compile(
    r"\bsmcp_[A-Za-z0-9_-]{12,}|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*"
)  # a persona's, a JWT
AUTHORIZATION = re.compile(r"(?i)\b(basic|bearer)(\s+)[A-Za-z0-9+/=._~-]{8,}")
QUERY = re.compile(r"""(\b[a-z][a-z0-9+.-]*://[^\s"'<>?#\\]*)\?[^\s"'<>\\]+""")
# Heard at warning, or at debug.
CHATTY = ("alembic", "asyncio", "httpx2", "httpcore2", "mcp", "sse_starlette", "uvicorn")
SHARED: tuple[Callable[[WrappedLogger, str, EventDict], Any], ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
)


class Redactor:
    """Takes secrets out of a text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        self._known = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)) or r"(?!)")

    def __call__(self, text: str) -> str:
        text = self._known.sub(REDACTED, text)
        text = TOKEN.sub(REDACTED, KEY.sub(REDACTED, text))
        text = AUTHORIZATION.sub(rf"\1\2{REDACTED}", text)
        return QUERY.sub(r"\1?[query removed]", text)


def _forms(secret: str) -> list[str]:
    """A key as it is, and as it travels in a Basic header."""
    return [secret, base64.b64encode(f"{secret}:".encode()).decode()]


def configure_logging(level: str, form: str = "json", secrets: Iterable[str] = ()) -> None:
    """Send every log line of this process, ours and the libraries', to stderr through one redactor.

    Called before the SDK is imported: it installs a root handler of its own where it finds none.
    """
    redact = Redactor(secrets)
    renderer = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )

    def render(logger: WrappedLogger, method: str, event: EventDict) -> str:
        return redact(str(renderer(logger, method, event)))

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *SHARED],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    for name in ("httpx2", "httpcore2", "aiosqlite"):  # they log every URL with its query, every row that is written
        logging.getLogger(name).setLevel(logging.WARNING)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that goes through the standard library: structlog's own default prints to stdout, which is the wire."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, *SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return logger
