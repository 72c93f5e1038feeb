"""The operator's page: what happens on a hosted server, and the few things that are decided there."""

from scale_mcp.server.hosted.console.routes import console_routes as console_routes
