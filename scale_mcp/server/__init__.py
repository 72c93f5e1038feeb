"""Cards become an MCP server: selection, consent, limits, results and the three doors to it."""
