"""``scale-mcp deny``: see ``approve``."""

from scale_mcp.cli.approve import deny_app as app

__all__ = ["app"]
