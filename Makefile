# Every target sets up what it needs on a machine that has Python 3.11 or newer: `make demo` is the first thing to type.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
COMPOSE_DEMO := $(COMPOSE) -p backup-demo -f docker/compose.yaml -f docker/compose.demo.yaml

.PHONY: help demo dev test lint bench docs picture clean compose-demo compose-demo-down

help:
	@echo "make demo   back up the embedded ERP, prove the set by a restore, and show what was proven"
	@echo "make dev    open Dagster's UI on the same instance (http://127.0.0.1:3000)"
	@echo "make test   run all tests"
	@echo "make lint   ruff, pyright, import contracts, definitions"
	@echo "make bench  measure against the bare tools, side by side"
	@echo "make docs   write the generated pages again"
	@echo "make compose-demo   the same demo, its services in containers (http://127.0.0.1:3000)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "this Python cannot make virtual environments: install its venv package (apt install python3-venv)"; exit 2; }

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo "setting up $(VENV) (once; about a minute)"
	@$(PIP) install --constraint constraints.txt --editable '.[demo]'
	@touch $@

$(READY_DEV): $(READY)
	@echo "adding the development tools to $(VENV)"
	@$(PIP) install --constraint constraints.txt --editable '.[demo,dev]'
	@touch $@

demo: $(READY)
	@$(BIN)/backup-assets demo $(if $(SIZE),--size $(SIZE))

dev: $(READY)
	@$(BIN)/backup-assets dev $(if $(PORT),--port $(PORT))

test: $(READY_DEV)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(READY_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	DAGSTER_HOME= $(BIN)/dagster definitions validate -w workspace.yaml

bench: $(READY_DEV)
	$(BIN)/python -m backup_assets_tests.bench $(ARGS)

docs: $(READY)
	$(BIN)/python -m backup_assets.settings_docs
	$(BIN)/python -m backup_assets.sets.schema_docs

picture: $(READY_DEV)
	PICTURES=$(CURDIR)/docs/images $(BIN)/python -m pytest -q $(addprefix backup_assets_tests/,end_to_end/test_ui.py end_to_end/test_ui_in_trouble.py aws/test_a_month.py)

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache

compose-demo:
	$(COMPOSE_DEMO) up --build --detach

compose-demo-down:
	$(COMPOSE_DEMO) down --volumes
