"""An ASGI application on a port of this machine, beside whatever else the process does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any


@asynccontextmanager
async def serving(app: Callable[..., Any], port: int = 0) -> AsyncIterator[str]:
    """Serve ``app`` on loopback while the context is open; gives its address. Port 0 takes any free one.

    Raises:
        OSError: the port is taken.
    """
    import anyio
    import uvicorn

    from scale_mcp.server.transports.listening import listen

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # Ctrl-C and SIGTERM belong to the process, not to this part of it

    with listen("127.0.0.1", port) as listener:
        config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        server = Server(config)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(server.serve, [listener])
                try:
                    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
                finally:
                    server.should_exit = True
        except BaseExceptionGroup as errors:
            if len(errors.exceptions) == 1:  # what the caller raised, in the group's wrapping
                raise errors.exceptions[0] from None
            raise
