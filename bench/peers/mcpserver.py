"""The tools on the SDK's high-level class, as its documentation has it: typed functions, one shared client.

python mcpserver.py stdio | streamable-http PORT | sse PORT
"""

import sys

from mcp.server import MCPServer
from typed_tools import DESCRIPTIONS, TOOLS

server = MCPServer("peer", log_level="ERROR")
for tool in TOOLS:
    server.add_tool(tool, description=DESCRIPTIONS[tool.__name__])

if sys.argv[1] == "stdio":
    server.run()
else:
    server.run(sys.argv[1], port=int(sys.argv[2]))
