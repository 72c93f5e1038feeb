"""Scale's annotation API in a box: the same paths, bodies, statuses and quirks, over SQLite."""

from scale_mcp.sandbox.sandbox import LOOPBACK, SANDBOX_URL, Sandbox, SandboxOptions

__all__ = ["LOOPBACK", "SANDBOX_URL", "Sandbox", "SandboxOptions"]
