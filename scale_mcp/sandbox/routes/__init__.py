"""The operations, one module per resource. Each module exports ``ROUTES``."""

from __future__ import annotations

from importlib import import_module

from scale_mcp.sandbox.http import Route

# Modules in the order in which their templates are tried.
RESOURCES = ("tasks", "batches", "projects", "files", "team", "studio", "quality", "admin")


def all_routes() -> list[Route]:
    return [route for name in RESOURCES for route in import_module(f"scale_mcp.sandbox.routes.{name}").ROUTES]
