SHELL := /bin/sh
VENV := .venv
AUDIT := .venv-audit
BIN := $(VENV)/bin
LOCK := requirements/development.txt
# The first Python for which TensorFlow has wheels.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo "$$python" && break; done)

.DEFAULT_GOAL := help
.PHONY: help install demo run test web pictures check e2e e2e-compose bench chaos fuzz audit recipes course tidy migrate lock

help: ## List the commands
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

install: $(VENV)/installed ## Create the virtual environment and install the locked packages

# Some systems keep ensurepip in a package of its own. Without it, the system's pip installs into the environment.
$(VENV)/installed: $(LOCK)
$(AUDIT)/installed: requirements/audit.txt
$(VENV)/installed $(AUDIT)/installed:
	@test -n "$(PYTHON)" || { echo "trainyard: needs Python 3.11, 3.12 or 3.13 (TensorFlow has no wheels for others)" >&2; exit 1; }
	@$(PYTHON) -m venv $$($(PYTHON) -c 'import ensurepip' 2>/dev/null || echo --without-pip) $(@D)
	@echo "Installing the packages of $< into $(@D). This takes a few minutes, once."
	@if $(@D)/bin/python -m pip --version >/dev/null 2>&1; then pip="$(@D)/bin/python -m pip"; else pip="$(PYTHON) -m pip --python $(@D)/bin/python"; fi; \
		$$pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --requirement $<
	@touch $@

$(VENV)/browser-installed $(VENV)/course-installed: $(VENV)/%-installed: requirements/%.txt $(VENV)/installed
	@$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --requirement $<
	@touch $@

demo: install ## Start everything, train a small network, classify five images, and stop
	@exec $(BIN)/python -m local.demo

run: install ## Start everything and run until Ctrl-C
	@exec $(BIN)/python -m local.stack

test: install ## Run the unit and integration tests
	@exec $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

web: $(VENV)/browser-installed ## Run the tests of the pages in a real browser (needs Chromium)
	@exec $(BIN)/python -m pytest tests/web

pictures: $(VENV)/browser-installed ## Take the pictures of the README (needs Chromium)
	@exec $(BIN)/python -m tests.web.pictures

check: install ## Check lint, formatting, import contracts and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/oxlint --deny-warnings --ignore-pattern '**/uplot*' api/web/static
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

e2e: install ## Run the end-to-end tests against processes on this machine
	@exec $(BIN)/python -m pytest tests/e2e $(if $(KEYWORDS),-k '$(KEYWORDS)')

e2e-compose: install ## Run the end-to-end tests against `docker compose up`
	@exec $(BIN)/python -m pytest tests/e2e --stack=compose

bench: install ## Measure training and serving, and print ratios
	@exec $(BIN)/python -m tests.benchmarks

chaos: install ## Break processes, connections and disks while clients work; SEED=7 FAULTS=200
	@exec $(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS))

fuzz: install ## Send mutated input to what reads it; MINUTES=10 SEED=7
	@exec $(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

audit: $(AUDIT)/installed ## Look up known vulnerabilities of the locked packages, and write bills of materials
	@exec $(AUDIT)/bin/python -m local.audit

recipes: install ## Train all recipes and write docs/recipes.md, about an hour; TABLES=folder of CSV files, ONLY="and or"
	@exec $(BIN)/python -m local.recipes $(if $(TABLES),--tables $(TABLES)) $(ONLY)

course: $(VENV)/course-installed ## Execute the notebooks of docs/course; TABLES=folder PHOTOS=folder SHORT=1 WRITE=1
	@exec $(BIN)/python -m local.course $(if $(TABLES),--tables $(TABLES)) $(if $(PHOTOS),--photos $(PHOTOS)) $(if $(SHORT),--short) $(if $(WRITE),--write) $(ONLY)

tidy: install ## Delete old checkpoints and events and unreferenced files, as the scheduler does
	@exec $(BIN)/python -m worker.tidy

migrate: install ## Migrate the database
	@exec $(BIN)/alembic upgrade head

lock: ## Write the lock files (needs uv)
	@set -e; for name in development api worker worker-gpu browser course audit; do \
		platform=$$(test $$name = worker-gpu && echo "--python-platform x86_64-manylinux_2_28 --python-version 3.11" || echo "--universal --python-version 3.11"); \
		constraint=$$(test $$name = development -o $$name = audit || echo "--constraint $(LOCK)"); \
		uv pip compile --quiet --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock" \
			$$platform $$constraint requirements/$$name.in --output-file requirements/$$name.txt; \
	done
