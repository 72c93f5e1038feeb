"""What clients are told about signing in: the protected-resource metadata (RFC 9728) and the challenge of a refusal.

``/mcp`` and ``/sse`` are two doors of one server. A client demands that the metadata names the address it came to, so
each has a document of its own, and tokens for either are good at both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
from mcp.server.auth.handlers.metadata import ProtectedResourceMetadataHandler
from mcp.server.auth.routes import cors_middleware
from mcp.shared.auth import ProtectedResourceMetadata
from starlette.routing import Route

from scale_mcp.hosting.clock import Clock, utc_now
from scale_mcp.hosting.sign_in import SignIn
from scale_mcp.setting_rules import ALGORITHMS

if TYPE_CHECKING:
    from scale_mcp.hosting.sign_in import Callers
    from scale_mcp.settings import Settings

WELL_KNOWN = "/.well-known/oauth-protected-resource"
DOORS = ("/mcp", "/sse")
REALM = "scale-mcp"


def sign_in_for(
    settings: Settings,
    callers: Callers,
    *,
    transport: httpx2.AsyncBaseTransport | None = None,
    clock: Clock = utc_now,
) -> SignIn:
    """The sign-in that the settings describe. ``callers`` is a ``Directory``; ``transport`` is for tests."""
    if settings.oauth_issuer is None:
        return SignIn(callers)
    from scale_mcp.hosting.issuer import Issuer
    from scale_mcp.hosting.oauth import Demands, LoginVerifier

    issuer = Issuer(settings.oauth_issuer, settings.oauth_jwks_url, transport=transport, clock=clock)
    own_addresses = tuple(f"{settings.public_url}{door}" for door in DOORS)
    demands = Demands(
        audiences=(settings.oauth_audience,) if settings.oauth_audience is not None else own_addresses,
        persona_claim=settings.oauth_persona_claim or "",
        user_claim=settings.oauth_user_claim,
        scopes=settings.oauth_scopes,
        algorithms=settings.oauth_algorithms or ALGORITHMS,
    )
    return SignIn(callers, LoginVerifier(issuer, demands, clock))


def metadata_routes(settings: Settings) -> list[Route]:
    """The metadata documents; none without an authorization server, as there is nowhere to send anybody."""
    if settings.oauth_issuer is None:
        return []
    return [
        Route(
            f"{WELL_KNOWN}{path}",
            endpoint=cors_middleware(_metadata(settings, door).handle, ["GET", "OPTIONS"]),
            methods=["GET", "OPTIONS"],
        )
        for path, door in (("/mcp", "/mcp"), ("/sse", "/sse"), ("", "/mcp"))
    ]


def _metadata(settings: Settings, door: str) -> ProtectedResourceMetadataHandler:
    document = ProtectedResourceMetadata.model_validate(
        {
            "resource": f"{settings.public_url}{door}",
            "authorization_servers": [settings.oauth_issuer],
            "scopes_supported": list(settings.oauth_scopes) or None,
            "resource_name": "Scale AI (scale-mcp)",
        }
    )
    return ProtectedResourceMetadataHandler(document)


class Challenges:
    """Words the ``WWW-Authenticate`` header of refusals."""

    def __init__(self, settings: Settings) -> None:
        self._metadata_at = f"{settings.public_url}{WELL_KNOWN}" if settings.oauth_issuer is not None else None
        self._scopes = settings.oauth_scopes

    def header(self, path: str, error: str | None = None, description: str | None = None) -> str:
        """For a request at ``path``: where to learn how to sign in, what to ask for, and what was wrong, if told."""
        parts = {"realm": REALM, "error": error, "error_description": description}
        if self._metadata_at is not None:
            door = "/sse" if path.startswith(("/sse", "/messages")) else "/mcp"
            parts |= {"resource_metadata": f"{self._metadata_at}{door}", "scope": " ".join(self._scopes) or None}
        return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parts.items() if value is not None)
