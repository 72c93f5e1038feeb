"""aiohttp's exceptions as httpx2's, with words of our own: aiohttp's name addresses."""

from __future__ import annotations

import os

import aiohttp
import httpx2


def translated(error: Exception) -> Exception:
    """httpx2's exception. ConnectError and ConnectTimeout only where certainly nothing was sent."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return httpx2.ConnectTimeout("The connection was not made in time.")
        case aiohttp.SocketTimeoutError():
            return httpx2.ReadTimeout("Nothing came in time.")
        case aiohttp.ClientConnectorCertificateError():
            return httpx2.ConnectError(str(error.certificate_error))
        case aiohttp.ClientConnectorError():
            return httpx2.ConnectError(error.strerror or _reason(error.os_error))
        case aiohttp.ServerDisconnectedError():
            return httpx2.RemoteProtocolError("Server disconnected without sending a response.")
        case aiohttp.ClientPayloadError():
            return httpx2.RemoteProtocolError("The connection was closed before the body was complete.")
        case aiohttp.ClientResponseError():
            return httpx2.RemoteProtocolError("The answer is not HTTP/1.1.")
        case OSError():
            return httpx2.ReadError(_reason(error))
    return httpx2.ReadError(type(error).__name__)  # whatever it was, the request may have gone out


def _reason(error: OSError) -> str:
    """The system's words, without the address that aiohttp adds."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else type(error).__name__
