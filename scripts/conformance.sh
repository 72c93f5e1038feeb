#!/usr/bin/env bash
# Judges the running server with tools that are not ours: the official conformance suite (both frozen requirement sets),
# the official inspector's command line over stdio, /mcp and /sse in both protocol eras, and mcpcheck.
# Needs npm, and the project's environment (make sets it up; PYTHON=… chooses another). Everything else goes to a scratch folder.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-.venv/bin/python}
NODE=node@22
SUITE=@modelcontextprotocol/conformance@0.2.0-alpha.12
INSPECTOR=@modelcontextprotocol/inspector@2.12.0
MCPCHECK=jbt-mcpcheck==0.1.1

scratch=${CONFORMANCE_SCRATCH:-$(mktemp -d)}
mkdir -p "$scratch"
servers=()
failures=0
cleanup() {
  for pid in "${servers[@]}"; do kill "$pid" 2>/dev/null || true; done
  [ -n "${CONFORMANCE_SCRATCH:-}" ] || rm -rf "$scratch"
}
trap cleanup EXIT

passed() { printf 'ok      %s\n' "$1"; }
failed() { printf 'FAILED  %s\n' "$1"; failures=$((failures + 1)); sed 's/^/        /' "$2" | tail -n 40; }

# try NAME COMMAND…: run it, say how it went, show its output when it failed.
try() {
  local name=$1 log=$scratch/last.log
  shift
  if timeout 120 "$@" >"$log" 2>&1 </dev/null; then passed "$name"; else failed "$name" "$log"; fi
}

# serve NAME [VARIABLE=VALUE…]: start a server on a free port, wait until it says that it listens; its address goes into $base.
serve() {
  local name=$1 log=$scratch/$1.log
  shift
  : >"$log"
  env "$@" "$PYTHON" -m scale_mcp serve --sandbox --transport http --port 0 2>"$log" >"$scratch/$name.out" </dev/null &
  servers+=($!)
  for _ in $(seq 600); do
    base=$(sed -n 's/.*"mcp": "\(http[^"]*\)\/mcp".*/\1/p' "$log")
    [ -z "$base" ] || return 0
    kill -0 "${servers[-1]}" 2>/dev/null || break
    sleep 0.1
  done
  cat "$log"
  echo "the server did not start"
  exit 1
}

install() {
  command -v npm >/dev/null || { apt-get update -qq && apt-get install -qq -y nodejs npm >/dev/null; }
  npm install --silent --no-fund --no-audit --prefix "$scratch" "$NODE" "$SUITE" "$INSPECTOR" >"$scratch/npm.log" 2>&1 ||
    { cat "$scratch/npm.log"; exit 1; }
  export PATH=$scratch/node_modules/node/bin:$PATH
  [ -x "$scratch/mcpcheck/bin/mcpcheck" ] ||
    { "$PYTHON" -m venv "$scratch/mcpcheck" && "$scratch/mcpcheck/bin/python" -m pip install -qq "$MCPCHECK"; }
}

# Every scored scenario must pass. Not scored: the tasks extension, which the SDK does not have.
requirements() {
  local revision=$1 log=$scratch/requirements-$1.log
  node "$scratch/node_modules/@modelcontextprotocol/conformance/dist/index.js" server \
    --url "$base/mcp" --requirements "$revision" >"$log" 2>&1 </dev/null || true
  local wrong
  wrong=$(grep -E '^✗ ' "$log" | grep -vE '^✗ tasks-' || true)
  if grep -q '=== SUMMARY ===' "$log" && [ -z "$wrong" ]; then
    passed "conformance $revision: $(grep -cE '^✓ ' "$log") scenarios, $(grep -cE '^✗ tasks-' "$log" || true) of the tasks extension left out"
  else
    failed "conformance $revision" "$log"
  fi
}

inspect() { # inspect NAME TARGET…: list strictly, call, read, prompt
  local name=$1 inspector=$scratch/node_modules/.bin/inspector
  shift
  for era in legacy modern; do
    local ask=("$inspector" --cli "$@" --protocol-era "$era" --format json -q)
    try "inspector $name $era: tools/list --strict" "${ask[@]}" --method tools/list --strict
    try "inspector $name $era: tools/call" "${ask[@]}" --method tools/call --tool-name list_projects
    try "inspector $name $era: resources/templates/list" "${ask[@]}" --method resources/templates/list
    try "inspector $name $era: prompts/get" "${ask[@]}" --method prompts/get \
      --prompt-name check_batch_before_finalizing --prompt-args batch=signs
  done
}

install
serve conformance SCALE_MCP_CONFORMANCE=true
requirements 2025-11-25
requirements 2026-07-28
serve real
try "mcpcheck" "$scratch/mcpcheck/bin/mcpcheck" "$base/mcp" --strict
inspect /mcp "$base/mcp" --transport http
inspect /sse "$base/sse" --transport sse
inspect stdio "$PYTHON" -m scale_mcp serve --sandbox

for pid in "${servers[@]}"; do
  kill -TERM "$pid"
  if wait "$pid"; then passed "a server ended cleanly"; else echo "FAILED  a server ended with $?"; failures=$((failures + 1)); fi
done
servers=()
[ ! -s "$scratch/conformance.out" ] && [ ! -s "$scratch/real.out" ] || { echo "FAILED  something was printed to stdout"; failures=$((failures + 1)); }

echo
[ "$failures" -eq 0 ] && echo "all passed" || { echo "$failures failed"; exit 1; }
