#!/bin/sh
# Makes .venv and puts the locked packages and this project in it: `setup.sh run` what running needs, `setup.sh dev` everything.
# Uses uv when there is a working one, else the standard library's venv and pip. Needs a Python of 3.11 or newer, nothing else.
set -eu
cd "$(dirname "$0")/.."
kind=$1
venv=${VENV:-.venv}

fail() { echo "error: $*" >&2; exit 1; }

# A name on PATH is no proof: version managers leave shims behind for Pythons that are not there. So each candidate is run.
works() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
can_make_environments() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }
have_uv() { [ -z "${NO_UV:-}" ] && uv --version >/dev/null 2>&1; }

# The first Python that works and passes the given test, if one is given.
find_python() {
  if [ -n "${PYTHON:-}" ]; then
    works "$PYTHON" || fail "PYTHON=$PYTHON is not a Python of 3.11 or newer."
    echo "$PYTHON"
    return 0
  fi
  for candidate in python3.13 python3.12 python3.11 python3 python python3.14; do
    if works "$candidate" && "${1:-works}" "$candidate"; then echo "$candidate"; return 0; fi
  done
  return 1
}

make_environment() {
  if have_uv; then
    # uv makes environments also for a Python without venv, and fetches a Python where there is none.
    python=$(find_python) || { [ -z "${PYTHON:-}" ] && python=; } || exit 1
    uv venv --quiet --clear --python "${python:->=3.11}" "$venv"
  elif python=$(find_python can_make_environments); then
    "$python" -m venv --clear "$venv" || fail "$python cannot make virtual environments: its venv or ensurepip is missing."
  elif [ -n "${PYTHON:-}" ]; then
    exit 1
  elif python=$(find_python); then
    fail "$python cannot make virtual environments. Install its venv package (on Debian and Ubuntu: python3-venv) or uv."
  else
    fail "no Python of 3.11 or newer was found. Install one, or name it: make PYTHON=/path/to/python3.12 …"
  fi
}

install() {
  if have_uv; then
    uv pip install --quiet --python "$venv/bin/python" "$@"
  else
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check "$@"
  fi
}

if ! works "$venv/bin/python" || { ! have_uv && ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; }; then
  echo "Making $venv …" >&2
  make_environment
fi
echo "Installing the locked packages ($kind) …" >&2
install --require-hashes -r "requirements/$kind.lock"
# Its own step, as an editable project has no hash. The build backend is in the lock, so nothing unlocked is fetched for it.
install --no-deps --no-build-isolation --editable .
touch "$venv/.$kind-installed"
# Whoever has everything has what running needs too.
if [ "$kind" = dev ]; then touch "$venv/.run-installed"; fi
