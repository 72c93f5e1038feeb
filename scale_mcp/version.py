"""Which version of scale-mcp this is."""

from __future__ import annotations


def version() -> str:
    """The installed version; ``0+source`` for a source tree that was never installed."""
    from importlib import metadata  # loads a tenth of the standard library, and most commands never ask

    try:
        return metadata.version("scale-mcp")
    except metadata.PackageNotFoundError:
        return "0+source"
