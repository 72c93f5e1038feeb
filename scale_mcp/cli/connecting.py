"""From settings to a connection: Scale with the operator's key, or the sandbox in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from scale_mcp.cli.hosts import PLACEHOLDER
from scale_mcp.cli.serving import remark

if TYPE_CHECKING:
    from scale_mcp.sandbox import Sandbox
    from scale_mcp.server.connection import Connection
    from scale_mcp.settings import Settings

SANDBOX_KEY = "live_sandbox"  # a live key: the simulated workforce does the work, on the sandbox's clock


class NoKey(Exception):
    """There is nothing to connect with. The text names the ways to go on."""


class NoSandbox(Exception):
    """The sandbox cannot be opened. The text says why."""


def check_key(settings: Settings) -> None:
    """Refuse to start without a key, and with something that is only in its place.

    Raises:
        NoKey: with the two ways to go on.
    """
    if settings.sandbox:
        return
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    if key and key != PLACEHOLDER and not key.startswith("${"):
        return
    if not key:
        missing = "there is no Scale API key."
    elif key == PLACEHOLDER:
        missing = "SCALE_API_KEY is still the placeholder that `scale-mcp install` wrote."
    else:
        missing = f"SCALE_API_KEY is {key!r}: the host passed its variable on without filling it in."
    raise NoKey(
        f"{missing} Two ways to go on:\n"
        "  with an account     set SCALE_API_KEY to a key from https://dashboard.scale.com/settings/apikey\n"
        "                      (test_… to try things out, live_… for real, paid work)\n"
        "  without an account  add --sandbox: a pretend Scale inside this process, with a simulated workforce"
    )


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Connection]:
    """The connection the settings describe, closed at the end.

    Raises:
        NoKey: no usable key, and not the sandbox either.
        NoSandbox: its file cannot be used.
    """
    from scale_mcp.api import ApiOptions, ScaleApi
    from scale_mcp.server.connection import Connection

    check_key(settings)
    options = ApiOptions(max_in_flight=settings.max_in_flight)
    if settings.sandbox:
        from scale_mcp.sandbox import SANDBOX_URL, Sandbox, SandboxOptions, StoreError

        try:
            box = Sandbox(SandboxOptions(db=settings.sandbox_db, clock=settings.sandbox_clock))
        except StoreError as error:
            raise NoSandbox(f"{error} Give another file with --sandbox-db.") from None
        async with (
            box as sandbox,
            _over_http(sandbox, settings.sandbox_port),
            ScaleApi(SANDBOX_KEY, base_url=SANDBOX_URL, transport=sandbox.transport(), options=options) as api,
        ):
            yield Connection(api, "sandbox")
        return
    assert settings.api_key is not None  # check_key has seen to it
    async with ScaleApi(settings.api_key, base_url=settings.api_url, options=options) as api:
        yield Connection(api, api.mode)


@asynccontextmanager
async def _over_http(sandbox: Sandbox, port: int | None) -> AsyncIterator[None]:
    """Open the sandbox to other clients as well: to look at it, move its clock or switch faults on."""
    if port is None:
        yield
        return
    from scale_mcp.cli.loopback import serving

    try:
        async with serving(sandbox.app, port) as address:
            remark(f"The sandbox is at {address}/v1 (key {SANDBOX_KEY}), its admin routes at {address}/_sandbox/")
            yield
    except OSError as error:
        raise NoSandbox(
            f"Port {port} cannot be used ({error.strerror or error}). --sandbox-port 0 takes any."
        ) from None
