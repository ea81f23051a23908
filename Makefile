# Every target sets itself up: it makes .venv and installs into it what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Many tests wait for processes, so that four workers a core finish first.
WORKERS ?= $(shell echo $$((4 * $$(getconf _NPROCESSORS_ONLN))))

PROPERTIES = $(shell grep -rl "import.*given" tests --include=*.py)

.DEFAULT_GOAL := help
.PHONY: help setup demo test soak check lint types floors format generate bench clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $(READY)

setup: $(READY) ## make .venv, and a git hook that runs the quick checks
	@if [ -d .git ]; then mkdir -p .git/hooks && printf '#!/bin/sh\nexec make lint\n' > .git/hooks/pre-commit && chmod +x .git/hooks/pre-commit; fi

demo: $(READY) ## run an example and show what came out
	@$(BIN)/python examples/demo.py

test: export DAGRUN_TEST_EFFORT ?= 0.4
test: $(READY) ## run the tests (under 3 minutes on 2 cores)
	@$(BIN)/python -m compileall -q dagrun operators  # hundreds of tests start the program, which must not compile itself
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not soak"

soak: $(READY) ## run the slow tests, and the property tests with many examples
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m soak
	DAGRUN_TEST_EFFORT=10 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not soak" -o timeout=1200 $(PROPERTIES)

check: lint types floors test ## everything that CI runs

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

floors: $(READY)
	$(BIN)/lint-imports

format: $(READY) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(READY) ## write what is generated: the compiled statements, the schema, tables of states and options
	$(BIN)/python -m dagrun.store.generate
	$(BIN)/python docs/generate.py

bench: $(READY) ## measure, beside bare loops in the same run
	$(BIN)/python -m benchmarks

clean: ## remove what the targets made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
