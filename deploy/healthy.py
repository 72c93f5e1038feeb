"""Ends with 0 when the server of this container answers: ``python healthy.py [PORT]``."""

import os
import sys
import urllib.request

port = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("SCALE_MCP_PORT", "8000")
with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=3) as answer:
    sys.exit(answer.status != 200)
