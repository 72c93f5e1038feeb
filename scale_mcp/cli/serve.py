"""``scale-mcp serve``: the MCP server."""

from __future__ import annotations

from typing import Any

import typer

from scale_mcp.cli.command import ReadableCommand, new_app
from scale_mcp.cli.options import all_fields, settings_from, takes_settings

PANELS = {
    "What it talks to": ("api_url", "sandbox", "sandbox_db", "sandbox_clock", "sandbox_port"),
    "Where it listens": ("transport", "host", "port", "allowed_hosts", "allowed_origins"),
    "Many callers": (
        "hosted",
        "store",
        "master_key_file",
        "master_key_keyring",
        "public_url",
        "trusted_hops",
        "console",
        "oauth_issuer",
        "oauth_audience",
        "oauth_jwks_url",
        "oauth_persona_claim",
        "oauth_user_claim",
        "oauth_scopes",
        "oauth_algorithms",
    ),
    "Which tools": ("toolsets", "tools", "exclude_tools", "read_only", "discovery", "list_page_size"),
    "Asking a person first": ("confirm", "confirm_risk"),
    "Files on this machine": ("upload_root", "download_root"),
    "Limits and logs": (
        "max_in_flight",
        "max_calls_per_minute",
        "call_timeout",
        "max_result_chars",
        "log_level",
        "log_format",
    ),
}
app = new_app()


@app.command(cls=ReadableCommand)
@takes_settings(all_fields(PANELS, "Further settings"))
def serve(**flags: Any) -> None:
    """Run the MCP server. Agent hosts start this; [bold]scale-mcp install[/bold] writes their entry.

    The key comes from SCALE_API_KEY, never from a flag. Every flag can be set as a variable too:
    --read-only is SCALE_MCP_READ_ONLY=true, and --api-url is SCALE_API_URL.

    On stdio, stdin and stdout belong to the host; logs go to stderr. It ends when stdin closes or on SIGTERM.

    [bold]Examples[/bold]
      scale-mcp serve --sandbox                     without an account
      scale-mcp serve --toolsets tasks,batches      fewer tools
      scale-mcp serve --read-only                   nothing that changes anything
      scale-mcp serve --discovery                   three tools that find and run the rest
      scale-mcp serve --transport http --port 8000  /mcp, /sse and /healthz

    [bold]Exit codes[/bold]
      0  ended in order
      1  something broke; the log says what
      2  wrong flags, variables or no key; it did not start
    """
    from scale_mcp.cli.serving import serve_until_told

    raise typer.Exit(serve_until_told(settings_from(flags, serving=True)))
