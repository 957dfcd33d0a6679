# `make run` and `make test` do all the set-up; both can be repeated at any time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup run test lint types format clean

help:
	@echo "make run    set up $(VENV), then compare prompting with MIPO on the embedded model (all suites)"
	@echo "make test   set up $(VENV), then lint, types and tests"
	@echo "make format rewrite the sources in the project's format"
	@echo "make clean  remove $(VENV) and what tools left behind; results stay"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mipo-bench needs Python 3.11 or newer; set PYTHON=...")'
	@echo "== setting up $(VENV) (once, a few minutes)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(READY)

run: setup
	@echo "== mipo-bench run --suite all"
	$(BIN)/mipo-bench run --suite all

lint: setup
	@echo "== lint"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	@echo "== types"
	$(BIN)/mypy

test: lint types
	@echo "== tests"
	HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=passive $(BIN)/pytest

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
