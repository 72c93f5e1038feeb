"""Every table of the sandbox, gathered from the areas that own them; the store creates what is missing on opening."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

# A module with a ``SCHEMA`` string (``CREATE … IF NOT EXISTS``) each.
AREAS = (
    "accounts",
    "clock",
    "agenda",
    "task_store",
    "batches",
    "projects",
    "engine",
    "deliveries",
    "request_log",
    "faults",
    "routes.files",
    "routes.team",
    "routes.studio",
    "routes.quality",
)


def scripts() -> Iterator[str]:
    for area in AREAS:
        name = f"scale_mcp.sandbox.{area}"
        if find_spec(name) is None:
            continue
        script = getattr(import_module(name), "SCHEMA", None)
        if script:
            yield script
