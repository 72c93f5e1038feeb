"""fastmcp's server generated from an OpenAPI document, as its documentation has it.

python fastmcp_openapi.py stdio | streamable-http PORT | sse PORT
"""

import json
import os
import sys
from pathlib import Path

import httpx2
from fastmcp import FastMCP

document = json.loads(Path(os.environ["PEER_OPENAPI"]).read_bytes())
client = httpx2.AsyncClient(base_url=os.environ["SCALE_API_URL"], auth=(os.environ["SCALE_API_KEY"], ""))
server = FastMCP.from_openapi(document, client=client, name="peer")

if sys.argv[1] == "stdio":
    server.run(show_banner=False, log_level="ERROR")
else:
    server.run(sys.argv[1], port=int(sys.argv[2]), show_banner=False, log_level="ERROR")
