"""Every table of the sandbox, gathered from the areas that own them; the store creates what is missing on opening."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

# A module with a ``SCHEMA`` string (``CREATE … IF NOT EXISTS``) each.
AREAS = (
    "accounts",
    "clock",
    "agenda",
    "task_counters",
    "task_store",
    "batches",
    "projects",
    "engine",
    "deliveries",
    "quality",
    "uploads",
    "team",
    "studio",
    "routes.quality",
)


def scripts() -> Iterator[str]:
    for area in AREAS:
        yield import_module(f"scale_mcp.sandbox.{area}").SCHEMA
