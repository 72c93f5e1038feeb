"""The command line. Importing it imports nothing else: each command's module loads when that command runs."""


def main() -> None:
    """Entry point of the ``scale-mcp`` script."""
    from scale_mcp.cli.app import app

    app(prog_name="scale-mcp")
