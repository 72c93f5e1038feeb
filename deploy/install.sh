#!/bin/sh
# What the image is made of, as plain commands: `install.sh PLACE` puts scale-mcp with everything a hosted server uses into an
# environment of its own at PLACE, from the locked packages. PYTHON=/path/to/python picks the Python.
set -eu
place=$1
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" -m venv "$place"
"$place/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/image.lock
"$place/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation .
