# Every target sets up what it needs by itself: a Python of 3.11 or newer and make are enough (uv is used when it is there).
# PYTHON=/path/to/python picks the Python, NO_UV=1 keeps away from uv, TESTS=… narrows `make test`.

VENV ?= .venv
BIN := $(VENV)/bin
TESTS ?= tests
WORKERS ?= 2
export VENV PYTHON NO_UV

.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo test check format generate picture lock bundle bench clean

help: ## Show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1	\2/p' Makefile | expand -t 18

demo: $(VENV)/.run-installed ## Watch an agent's client take pictures through a whole labelling life cycle, without an account
	@$(BIN)/scale-mcp demo

# The console is also looked at in a browser, where there is one.
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable
BROWSER = $(shell for name in $(BROWSERS); do command -v $$name; done; true)

test: $(VENV)/.dev-installed ## Run the tests (TESTS=tests/test_docs.py for one file)
	$(if $(BROWSER),,SCALE_MCP_NO_BROWSER=1) $(BIN)/pytest -n $(WORKERS) --dist loadgroup $(PYTEST_FLAGS) $(TESTS)

check: $(VENV)/.dev-installed ## Format, lint, types, import contract, generated files, locks, house rules
	@sh scripts/check.sh $(BIN)

format: $(VENV)/.dev-installed ## Format the code and fix what the linter can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: $(VENV)/.dev-installed ## Write again what is generated from the tools and settings
	$(BIN)/python scripts/generate.py

picture: $(VENV)/.dev-installed ## Draw docs/session.svg from a run of the demo
	$(BIN)/python scripts/draw_session.py

lock: $(VENV)/.dev-installed ## Resolve the dependencies anew into requirements/*.lock
	$(BIN)/python scripts/locks.py

bundle: $(VENV)/.run-installed ## Pack dist/scale-mcp-VERSION.mcpb for one-click installation in a host
	$(BIN)/python scripts/bundle.py

bench: $(VENV)/.dev-installed ## Measure speed, memory and tokens beside others (BENCH="--quick" for rough figures, BENCH=calls for one)
	@$(BIN)/python bench/run.py $(BENCH)

clean: ## Remove the environment and everything that was built
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(VENV)/.run-installed: requirements/run.lock pyproject.toml scripts/setup.sh
	@sh scripts/setup.sh run

$(VENV)/.dev-installed: requirements/dev.lock pyproject.toml scripts/setup.sh
	@sh scripts/setup.sh dev
