"""Scale's annotation API in a box: the same paths, bodies, statuses and quirks, over SQLite."""

from scale_mcp.sandbox.http import LOOPBACK
from scale_mcp.sandbox.sandbox import SANDBOX_URL, Sandbox, SandboxOptions
from scale_mcp.sandbox.store import StoreError

__all__ = ["LOOPBACK", "SANDBOX_URL", "Sandbox", "SandboxOptions", "StoreError"]
