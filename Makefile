SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/development.txt
# The first that TensorFlow has wheels for.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo "$$python" && break; done)

.DEFAULT_GOAL := help
.PHONY: help install demo run test check e2e e2e-compose bench chaos recipes tidy migrate lock

help: ## Show what can be made
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

install: $(VENV)/installed ## Make the virtual environment and install what the lock file says

# Without ensurepip, which some systems keep in a package of its own, the system's pip installs into the environment.
$(VENV)/installed: $(LOCK)
	@test -n "$(PYTHON)" || { echo "trainyard: needs Python 3.11, 3.12 or 3.13 (TensorFlow has no wheels for others)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip $(VENV)
	@echo "Installing what $(LOCK) says into $(VENV): a few minutes, once."
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then pip="$(BIN)/python -m pip"; else pip="$(PYTHON) -m pip --python $(BIN)/python"; fi; \
		$$pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --requirement $(LOCK)
	@touch $@

demo: install ## Start everything, train a small model, ask it, and stop
	@exec $(BIN)/python -m local.demo

run: install ## Start everything and stay until Ctrl-C
	@exec $(BIN)/python -m local.stack

test: install ## Run the unit and integration tests
	@exec $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

check: install ## Lint, formatting, import contracts and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

e2e: install ## Run the end-to-end tests against processes on this machine
	@exec $(BIN)/python -m pytest tests/e2e

e2e-compose: install ## Run them against `docker compose up`
	@exec $(BIN)/python -m pytest tests/e2e --stack=compose

bench: install ## Measure, and print ratios
	@exec $(BIN)/python -m tests.benchmarks

chaos: install ## Kill, freeze and fill whatever there is while clients work; SEED=7 FAULTS=200
	@exec $(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS))

recipes: install ## Train every recipe and write docs/recipes.md, an hour; TABLES=folder has CSVs, ONLY="and or" chooses
	@exec $(BIN)/python -m local.recipes $(if $(TABLES),--tables $(TABLES)) $(ONLY)

tidy: install ## Remove old checkpoints and events, and files that nothing names, as the scheduler does every few minutes
	@exec $(BIN)/python -m worker.tidy

migrate: install ## Bring the database up to date
	@exec $(BIN)/alembic upgrade head

lock: ## Write the lock files anew (needs uv)
	@set -e; for name in development api worker worker-gpu; do \
		platform=$$(test $$name = worker-gpu && echo "--python-platform x86_64-manylinux_2_28 --python-version 3.11" || echo "--universal --python-version 3.11"); \
		constraint=$$(test $$name = development || echo "--constraint $(LOCK)"); \
		uv pip compile --quiet --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock" \
			$$platform $$constraint requirements/$$name.in --output-file requirements/$$name.txt; \
	done
