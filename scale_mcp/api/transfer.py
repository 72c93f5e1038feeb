"""Large things: files going up in pieces, result files coming down in pieces."""

from __future__ import annotations

import io
import ipaddress
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import anyio
import anyio.to_thread

from scale_mcp.api import trace
from scale_mcp.api.answers import error_of, redirect_target
from scale_mcp.api.client import MAX_REDIRECTS, Client
from scale_mcp.api.connection import is_loopback
from scale_mcp.api.errors import (
    DeadlineExceeded,
    RateLimited,
    RefusedBeforeSending,
    ScaleError,
    TooLarge,
    Unauthorized,
    UnexpectedAnswer,
)
from scale_mcp.api.operation import Operation, Stream
from scale_mcp.api.results import ResponseStream
from scale_mcp.api.retry import retry_after
from scale_mcp.models.limits import FILE_BYTES
from scale_mcp.text import one_line

if TYPE_CHECKING:
    import httpx2

PIECE = 256 * 1024  # bytes read at once

Progress = Callable[[int, int], Awaitable[None] | None]
"""Called, and awaited if it is a coroutine, with the bytes of the file sent so far and its size."""


# up


@asynccontextmanager
async def multipart(
    fields: dict[str, str],
    source: Path | bytes | IO[bytes],
    *,
    file_name: str,
    mime_type: str | None,
    on_progress: Progress | None = None,
) -> AsyncIterator[Stream]:
    """A form with the text fields first and then the file, read in pieces.

    Raises TooLarge above 80 MB and RefusedBeforeSending for an empty or unreadable file, before anything is sent.
    """
    async with AsyncExitStack() as stack:
        file = await _opened(source, stack)
        start, size = await anyio.to_thread.run_sync(_extent, file)
        if size > FILE_BYTES:
            raise TooLarge(f"The file has {size:,} bytes; Scale takes at most 80 MB ({FILE_BYTES:,} bytes).")
        if size == 0:
            raise RefusedBeforeSending("The file is empty.", next_step="Give a file with content.")
        boundary = secrets.token_hex(16)
        head = b"".join(_text_part(boundary, name, value) for name, value in fields.items())
        head += _file_part(boundary, file_name, mime_type)
        tail = f"\r\n--{boundary}--\r\n".encode()

        async def pieces() -> AsyncIterator[bytes]:
            yield head
            await anyio.to_thread.run_sync(file.seek, start)
            sent = 0
            while sent < size:
                piece = await anyio.to_thread.run_sync(file.read, min(PIECE, size - sent))
                if not piece:
                    raise RefusedBeforeSending(
                        "The file became shorter while it was sent.", next_step="Send it again when it is complete."
                    )
                yield piece
                sent += len(piece)
                if on_progress is not None and (told := on_progress(sent, size)) is not None:
                    await told
            yield tail

        yield Stream(pieces, len(head) + size + len(tail), f"multipart/form-data; boundary={boundary}")


async def _opened(source: Path | bytes | IO[bytes], stack: AsyncExitStack) -> IO[bytes]:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if not isinstance(source, Path):
        return source
    try:
        file = await anyio.to_thread.run_sync(source.open, "rb")
    except OSError as error:
        reason = error.strerror or type(error).__name__
    else:
        stack.callback(file.close)
        return file
    raise RefusedBeforeSending(f"The file cannot be read: {reason}.", next_step="Check that it exists and is readable.")


def _extent(file: IO[bytes]) -> tuple[int, int]:
    """Where the file stands, and the bytes from there to its end."""
    if not file.seekable():
        raise RefusedBeforeSending("The file cannot be read twice.", next_step="Give a real file, or its bytes.")
    start = file.tell()
    size = file.seek(0, io.SEEK_END) - start
    file.seek(start)
    return start, size


def _text_part(boundary: str, name: str, value: str) -> bytes:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def _file_part(boundary: str, file_name: str, mime_type: str | None) -> bytes:
    escapes = {ord('"'): "%22", ord("\\"): "%5C"} | {code: f"%{code:02X}" for code in (*range(32), 127)}
    name = file_name.translate(escapes) or "file"
    kind = f"Content-Type: {mime_type}\r\n" if mime_type else ""
    if "\r" in (mime_type or "") or "\n" in (mime_type or ""):
        raise RefusedBeforeSending("The MIME type holds a line break.", next_step="Give one such as image/png.")
    return f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n{kind}\r\n'.encode()


# down


@asynccontextmanager
async def download(client: Client, operation: Operation) -> AsyncIterator[ResponseStream]:
    """Open a file and follow its redirects; the key goes to our own origin only, and never again after leaving it.

    Opening is retried like any read; once content flows, a failure is raised to whoever reads it.
    """
    deadline = client.deadline(operation)
    exchange = trace.begin(operation.method, operation.template)
    exchange.began, exchange.host = time.perf_counter(), client.connection.host
    async with AsyncExitStack() as stack:
        attempt, rate_limited = 0, 0
        while True:
            attempt += 1
            failure: ScaleError
            try:
                response = await _open(client, operation, exchange, stack, deadline)
                break
            except ScaleError as error:
                failure = error
            finally:
                exchange.seconds = time.perf_counter() - exchange.began
            await stack.aclose()
            rate_limited += isinstance(failure, RateLimited)
            pause = client.pause(failure, attempt, rate_limited)
            if pause is None or anyio.current_time() + pause >= deadline:
                raise failure
            await client.options.sleep(pause)
        yield _stream(client, response)


async def _open(
    client: Client, operation: Operation, exchange: trace.Exchange, stack: AsyncExitStack, deadline: float
) -> httpx2.Response:
    with anyio.CancelScope(deadline=deadline):
        async with client.turn(deadline, exchange) as turn:
            request = client.wire.request(operation)
            at_home = True
            for _ in range(MAX_REDIRECTS + 1):
                response = await turn.wire.send(request, exchange, with_key=at_home)
                stack.push_async_callback(response.aclose)
                turn.answered(response.status_code, retry_after(response.headers))
                target = redirect_target(response)
                if target is None:
                    if not 200 <= response.status_code < 300:
                        raise await _refusal(client, response)
                    return response
                await stack.aclose()
                at_home = at_home and client.connection.owns(target)
                if not at_home:
                    _check_foreign(target, client)
                request = client.wire.get(target)
            raise UnexpectedAnswer("The file's address redirected too often.", next_step="Try again later.")
    raise DeadlineExceeded("The time for this call was over before the file came.")


async def _refusal(client: Client, response: httpx2.Response) -> ScaleError:
    error = error_of(await client.wire.read(response), client.connection.scrub)
    if isinstance(error, Unauthorized) and client.connection.mode == "test":
        error.next_step = "Protected result files open with the account's live key only, and this is a test key."
    return error


def _check_foreign(target: httpx2.URL, client: Client) -> None:
    """Another host may hand out the file only over https, and only from the public internet."""
    host = target.host
    if client.connection.loopback and target.scheme in ("http", "https") and is_loopback(host):
        return
    if target.scheme == "https" and host and not target.userinfo and not is_loopback(host) and _is_public(host):
        return
    raise UnexpectedAnswer(
        f"Scale sent us to {one_line(target.scheme, 10)}://{one_line(host, 80)} for the file, which is not followed.",
        next_step="Report this to Scale: result files come over https from public hosts.",
    )


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return True  # a name


def _stream(client: Client, response: httpx2.Response) -> ResponseStream:
    length = response.headers.get("content-length", "")
    plain = "content-encoding" not in response.headers
    return ResponseStream(
        content_type=one_line(response.headers.get("content-type", "application/octet-stream"), 200),
        size=int(length) if plain and length.isascii() and length.isdigit() else None,
        chunks=lambda: client.wire.chunks(response),
    )
