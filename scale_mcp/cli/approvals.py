"""``scale-mcp approvals``: see ``approve``."""

from scale_mcp.cli.approve import approvals_app as app

__all__ = ["app"]
