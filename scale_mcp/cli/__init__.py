"""The command line. Importing it imports nothing else: each command's module loads when that command runs."""


def main() -> None:
    """Entry point of the ``scale-mcp`` script.

    ``serve`` on stdio begins with the fast front, which answers a host's opening messages before anything is loaded.
    """
    import sys

    if sys.argv[1:2] == ["serve"]:
        from scale_mcp.front.start import open_with_front

        opened = open_with_front(sys.argv[2:])
        if opened is not None:
            from scale_mcp.cli.serving import serve_in_front

            serve_in_front(*opened)
    from scale_mcp.cli.app import app

    app(prog_name="scale-mcp")
