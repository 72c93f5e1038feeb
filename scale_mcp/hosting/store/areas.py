"""Every module that declares tables. Importing this one makes ``metadata`` complete, as migrations and tests need."""

from __future__ import annotations

import scale_mcp.hosting.approvals
import scale_mcp.hosting.audit.chain
import scale_mcp.hosting.audit.checks
import scale_mcp.hosting.connection_records
import scale_mcp.hosting.console_tokens
import scale_mcp.hosting.events.tables
import scale_mcp.hosting.health
import scale_mcp.hosting.homes
import scale_mcp.hosting.persona_tables
import scale_mcp.hosting.spent_answers  # noqa: F401
