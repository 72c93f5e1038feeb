#!/bin/sh
# Everything `make check` looks at. Runs every step, shows the output of those that fail, and fails if one did.
set -u
bin=$1
failed=""

step() {
  name=$1; shift
  if output=$("$@" 2>&1); then
    printf '  ok      %s\n' "$name"
  else
    printf '  FAILED  %s\n%s\n' "$name" "$output"
    failed="$failed, $name"
  fi
}

step "format"            "$bin/ruff" format --check .
step "lint"              "$bin/ruff" check .
step "types"             "$bin/mypy" --strict
step "imports"           "$bin/lint-imports"
step "generated files"   "$bin/python" scripts/generate.py --check
step "spelling"          "$bin/codespell"
step "locks"             "$bin/python" scripts/locks.py --check
step "house rules"       "$bin/python" scripts/house_rules.py

if [ -n "$failed" ]; then
  echo "make check failed: ${failed#, }"
  exit 1
fi
