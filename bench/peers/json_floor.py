"""The floor: a bare interpreter that answers from json alone. The list and the one result are bytes made beforehand.

python json_floor.py FOLDER        with list.json and result.json in it, each the value of ``result``
"""

import json
import os
import sys

folder = sys.argv[1]
with open(f"{folder}/list.json", "rb") as file:  # noqa: PTH123  # pathlib costs more than all the rest
    LIST = file.read()
with open(f"{folder}/result.json", "rb") as file:  # noqa: PTH123
    RESULT = file.read()
HELLO = b'{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"floor","version":"1"}}'
ANSWERS = {"initialize": HELLO, "tools/list": LIST, "tools/call": RESULT}

rest = b""
while chunk := os.read(0, 65536):
    rest += chunk
    while b"\n" in rest:
        line, _, rest = rest.partition(b"\n")
        message = json.loads(line)
        if "id" not in message:
            continue
        answer = b'{"jsonrpc":"2.0","id":%s,"result":%s}\n' % (
            json.dumps(message["id"]).encode(),
            ANSWERS[message["method"]],
        )
        while answer:
            answer = answer[os.write(1, answer) :]
