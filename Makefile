# What people, hooks and CI run alike. `make help` lists the targets.

.DEFAULT_GOAL := help
SHELL := /bin/bash

VENV := .venv
BIN := $(VENV)/bin
UV ?= uv
# The first that runs and that TensorFlow has wheels for: a name on the PATH may be a stub that only prints an error.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 && \
	echo $$python && break; done)

.PHONY: help run test test-all check docs loadtest notebook lock clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | awk -F '\t' '{printf "make %-8s %s\n", $$1, $$2}'

# PORT=5001 goes in as an option: as a variable it would say that this is a hosting service, which all may reach.
run: $(VENV)/.installed  ## make .venv, install, train on DATA=folder if given (with BACKBONE=weights), serve (on PORT)
ifdef DATA
	$(BIN)/catdog train "$(DATA)" $(if $(BACKBONE),--backbone "$(BACKBONE)")
endif
	env -u PORT $(BIN)/catdog serve $(if $(PORT),--port "$(PORT)")

test: $(VENV)/.installed-dev  ## make .venv with what developing needs, and run the tests (ARGS= goes to pytest)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" $(ARGS)

test-all: $(VENV)/.installed-dev  ## the tests that `make test` leaves out: kills, soak, containers, browsers, Postgres
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow $(ARGS)

check: $(VENV)/.installed-dev  ## lint, formatting, types, imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: $(VENV)/.installed-dev  ## the documentation as a site, into build/site; ARGS=serve to read it at http://127.0.0.1:8000
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs $(or $(ARGS),build --strict)

loadtest: $(VENV)/.installed-dev  ## 100 users against one server, and against three behind nginx (ARGS= goes to it)
	$(BIN)/python benchmarks/loadtest.py $(ARGS)

notebook: $(VENV)/.installed-dev  ## run the notebook anew and keep what it shows (ARGS="--data pets")
	$(BIN)/python notebook/execute.py $(ARGS)

# One resolution for every platform and Python from 3.11 on; the development lock keeps the versions of the other one.
lock:  ## resolve pyproject.toml anew into requirements.txt and requirements-dev.txt (needs uv)
	@command -v $(UV) >/dev/null || { echo 'make lock needs uv: pip install uv' >&2; exit 1; }
	@set -e; pins=$$(mktemp -d); trap 'rm -rf "$$pins"' EXIT; \
	compile="$(UV) pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate"; \
	$$compile --extra train --extra postgres pyproject.toml -o "$$pins/run.txt"; \
	$$compile --extra dev --constraints "$$pins/run.txt" pyproject.toml -o "$$pins/dev.txt"; \
	for name in run dev; do \
		target=requirements.txt; [ $$name = run ] || target=requirements-dev.txt; \
		{ echo '# Made by `make lock` from pyproject.toml; do not edit.'; echo '-e .'; cat "$$pins/$$name.txt"; } >$$target; \
		echo "$$target: $$(grep -c == $$target) packages"; \
	done

clean:  ## remove .venv and caches; data, models and databases stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo 'Python 3.11, 3.12 or 3.13 is needed; name one with make PYTHON=/path/to/python3' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt pyproject.toml hatch_build.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

# What it installs includes all that `run` needs, so that the stamp of both is set.
$(VENV)/.installed-dev: requirements-dev.txt pyproject.toml hatch_build.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $(VENV)/.installed $@
