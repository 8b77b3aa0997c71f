# Two commands are enough: `make demo` and `make test`. `make help` lists the others.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# As root no sudo; else only where apt has something to do.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help setup setup-dev system-packages demo test equality check lint types layers docs reference screenshots clients bench chaos build format constraints clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Ninelives needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python's venv module is missing: run 'apt-get install python3-venv' and try again"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Compiled now, as pip does and uv does not: where PYTHONDONTWRITEBYTECODE is set, each start of each process
# would compile all it imports again, several seconds of it.
$(VENV)/.server: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt --compile-bytecode -e '.[server,salesforce]'
	@$(BIN)/python -m compileall -q src
	@touch $@

$(VENV)/.dev: $(VENV)/.server
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt --compile-bytecode --group dev
	@touch $@

setup: $(VENV)/.server ## Make .venv with the program in it

setup-dev: $(VENV)/.dev ## The same, with the tools for development

demo: setup ## Run the main story end to end on a fake Salesforce org, then leave the UI open (ARGS=--once: unattended)
	@$(BIN)/ninelives demo $(ARGS)

system-packages: ## Install what the tests need from Debian: Chromium and PostgreSQL
	@if ! command -v chromium >/dev/null || ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then \
	  echo "installing chromium and postgresql"; \
	  $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium postgresql fonts-dejavu-core >/dev/null; fi

test: setup-dev system-packages clients ## Run all tests (real PostgreSQL, Temporal and Chromium)
	$(BIN)/pytest -n 2 --dist loadgroup $(ARGS)

equality: setup-dev ## Kill test programs after each pair of records in turn (takes long)
	NINELIVES_TEST_EQUALITY=1 $(BIN)/pytest tests/ninelives/test_replay_equality.py -n 2 $(ARGS)

clients: setup-dev ## Install the third-party Node clients that judge the fake org
	@bash tests/testing/fake_salesforce/clients/install.sh $(BIN)

check: setup-dev lint layers types docs ## Lint, types, layers, docs

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/typos

layers:
	$(BIN)/lint-imports --no-cache | tail -12

types:
	$(BIN)/mypy

docs: setup-dev ## Build the documentation; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -q -d $(VENV)/site

reference: setup-dev ## Write the reference pages that are made from the code
	$(BIN)/python tools/call_table.py
	$(BIN)/python tools/reference.py

screenshots: setup-dev system-packages ## Take the pictures of the documentation anew
	$(BIN)/python tools/screenshots.py

bench: setup-dev ## Measure the budgets beside peers; the last line is JSON
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt --group bench
	$(BIN)/python bench/run.py $(ARGS)

chaos: setup-dev system-packages ## Kill everything at random for 10 minutes and look what was lost (ARGS="--minutes 2 --sessions 60 --seed 7")
	$(BIN)/python tests/chaos/run.py $(ARGS)

build: setup-dev ## Build the wheel into dist/
	$(BIN)/uv build --wheel -o dist

format: setup-dev ## Format the code
	$(BIN)/ruff check --fix-only -q . ; $(BIN)/ruff format .

constraints: setup-dev ## Pin the newest acceptable versions
	$(BIN)/uv pip compile pyproject.toml --extra server --extra salesforce --group dev --group bench --python-version 3.11 --no-header --no-emit-index-url --no-annotate --upgrade -o constraints.txt

clean: ## Remove what the other targets made
	rm -rf $(VENV) dist site .mypy_cache .ruff_cache .pytest_cache
