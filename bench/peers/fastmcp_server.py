"""The tools on fastmcp, as its documentation has it: typed functions, one shared client.

python fastmcp_server.py stdio | streamable-http PORT | sse PORT
"""

import sys

from fastmcp import FastMCP
from typed_tools import DESCRIPTIONS, TOOLS

server = FastMCP("peer")
for tool in TOOLS:
    server.tool(tool, description=DESCRIPTIONS[tool.__name__])

if sys.argv[1] == "stdio":
    server.run(show_banner=False, log_level="ERROR")
else:
    server.run(sys.argv[1], port=int(sys.argv[2]), show_banner=False, log_level="ERROR")
