"""scale-mcp: Scale AI's data-annotation API as typed MCP tools. Importing it imports nothing else."""
