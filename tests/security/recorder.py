"""A stand-in for Scale's API that records every request and answers as badly as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Recorder:
    """``answer`` makes status, headers and body of an answer from the request; None drops the connection."""

    base: str = ""
    seen: list[Seen] = field(default_factory=list)
    mode: str = "ok"
    redirect_to: str = ""

    def answer(self, request: Seen) -> tuple[int, dict[str, str], bytes] | None:
        echoed = json.dumps({"status_code": 0, "error": f"you sent {request.headers}", "headers": request.headers})
        match self.mode:
            case "drop":
                return None
            case "garbage":
                return 200, {}, b"\x00\xff<html>" + echoed.encode()
            case "redirect":
                return 302, {"Location": f"{self.redirect_to}/stolen"}, b""
            case "ok":
                return 200, {}, json.dumps({"task_id": "a" * 24, "docs": [], "name": "x", "type": "y"}).encode()
            case status:
                return int(status), {"Retry-After": "0"}, echoed.encode()


@contextmanager
def recording() -> Iterator[Recorder]:
    recorder = Recorder()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            seen = Seen(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            recorder.seen.append(seen)
            answer = recorder.answer(seen)
            if answer is None:
                self.close_connection = True
                self.connection.close()
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *arguments: Any) -> None:
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    recorder.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
