#!/bin/sh
# Makes .venv and puts the locked packages and this project in it: `setup.sh run` what running needs, `setup.sh dev` everything.
# Uses uv when there is a working one, else the standard library's venv and pip. Needs a Python of 3.11 or newer, nothing else.
set -eu
cd "$(dirname "$0")/.."
kind=$1
venv=${VENV:-.venv}

# A name on PATH is no proof: version managers leave shims behind for Pythons that are not there. So each candidate is run.
works() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
can_make_environments() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

find_python() {
  without_venv=""
  for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3 python python3.14; do
    if works "$candidate"; then
      if can_make_environments "$candidate"; then echo "$candidate"; return 0; fi
      without_venv=$candidate
    elif [ "$candidate" = "${PYTHON:-}" ]; then
      echo "error: PYTHON=$PYTHON is not a Python of 3.11 or newer." >&2
      return 1
    fi
  done
  if [ -n "$without_venv" ]; then
    echo "error: $without_venv cannot make virtual environments. Install its venv package (on Debian and Ubuntu: python3-venv) or uv." >&2
  else
    echo "error: no Python of 3.11 or newer was found. Install one, or name it: make PYTHON=/path/to/python3.12 …" >&2
  fi
  return 1
}

have_uv() { [ -z "${NO_UV:-}" ] && uv --version >/dev/null 2>&1; }

make_environment() {
  if have_uv; then
    # uv can make environments for a Python without venv, and fetch a Python where there is none.
    if python=$(find_python 2>/dev/null) || [ -n "${PYTHON:-}" ]; then
      uv venv --quiet --clear --python "$("${python:-$PYTHON}" -c 'import sys; print(sys.executable)')" "$venv"
    else
      uv venv --quiet --clear --python '>=3.11' "$venv"
    fi
  else
    python=$(find_python)
    "$python" -m venv --clear "$venv"
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
