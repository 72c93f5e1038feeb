"""The operations, one module per resource. Each module exports ``ROUTES``."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from scale_mcp.sandbox.http import Route

# Modules in the order in which their templates are tried.
RESOURCES = ("tasks", "batches", "projects", "files", "team", "studio", "quality", "admin")


def all_routes() -> list[Route]:
    found: list[Route] = []
    for resource in RESOURCES:
        name = f"scale_mcp.sandbox.routes.{resource}"
        if find_spec(name) is not None:
            found += import_module(name).ROUTES
    return found
