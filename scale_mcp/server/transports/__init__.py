"""The doors to the server: stdio here, HTTP (``/mcp``, ``/sse``) there."""
