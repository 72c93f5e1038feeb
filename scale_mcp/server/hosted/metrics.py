"""``GET /metrics``: what this process does, for Prometheus.

Read with the token that the operator set for it, or, where none is set, from this machine only. No persona's token
opens it.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import anyio.to_thread
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scale_mcp.server.hosted.figures import Figures
from scale_mcp.server.hosted.visit import peer_address
from scale_mcp.server.request_ids import request_id
from scale_mcp.settings import is_loopback

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from scale_mcp.settings import Settings

BEARER = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)")
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")  # proxies say by these that somebody else is asking


class Metrics:
    """Answers ``/metrics``."""

    def __init__(self, figures: Figures, settings: Settings) -> None:
        self._figures = figures
        self._token = settings.metrics_token
        self._trusted_hops = settings.trusted_hops

    def routes(self) -> list[Route]:
        return [Route("/metrics", endpoint=self.show, methods=["GET"])]

    async def show(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        # Gathered here, where nothing changes meanwhile; written elsewhere, as that takes longer.
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Gathered(await self._figures.gathered()))
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        written = await anyio.to_thread.run_sync(encode, registry)
        return Response(written, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    def _refusal(self, request: Request) -> Response | None:
        given = request.headers.getlist("authorization")
        if self._token is not None:
            found = BEARER.fullmatch(given[0].strip()) if len(given) == 1 else None
            expected = self._token.get_secret_value().encode()
            if found is not None and hmac.compare_digest(found[1].encode(), expected):
                return None
            words = "Send the metrics token of this server as Authorization: Bearer."
            return _refused(401, words, {"WWW-Authenticate": 'Bearer realm="scale-mcp metrics"'})
        if given or not self._is_from_here(request):
            words = "Metrics are for this machine only, without a token; set SCALE_MCP_METRICS_TOKEN to open them."
            return _refused(403, words)
        return None

    def _is_from_here(self, request: Request) -> bool:
        """Whether it was asked on this machine, and not by a proxy on it for somebody else."""
        client = request.client
        if client is None or not is_loopback(client.host):
            return False
        forwarded = any(name in request.headers for name in FORWARDED)
        if not self._trusted_hops:
            return not forwarded
        return not forwarded or is_loopback(peer_address(request.scope, self._trusted_hops))


class _Gathered(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> list[Metric]:
        return self._families


def _refused(status: int, words: str, headers: dict[str, str] | None = None) -> Response:
    body = {"error": words, "request_id": request_id()}
    return JSONResponse(body, status_code=status, headers={"Cache-Control": "no-store", **(headers or {})})
