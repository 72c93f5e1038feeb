"""``python -m scale_mcp`` is ``scale-mcp``."""

from scale_mcp.cli import main

if __name__ == "__main__":
    main()
