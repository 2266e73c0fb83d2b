# Everything a fresh machine needs: `make demo` and `make test` set themselves up.
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
RUN    ?= $(CURDIR)/runs/digits-$(shell date +%Y%m%d-%H%M%S)
export PATH := $(abspath $(BIN)):$(PATH)
export DS_ACCELERATOR ?= $(shell command -v nvidia-smi >/dev/null 2>&1 || echo cpu)

.PHONY: help install demo test lint types unit bench docs format clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## a virtual environment with everything, at the tested versions

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,examples,dev]'
	@touch $@

$(VENV)/.interpreter: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[interpreter]'
	@touch $@

demo: install ## train a small vision-language model under a prior (about 5 minutes on two cores)
	$(BIN)/python examples/digits/prepare.py
	$(BIN)/priorlang train examples/digits/train.yaml --set output_dir=$(RUN)

test: lint types unit ## ruff, mypy and pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

# A file's tests stay in one process, so that what its fixtures train is trained once; the slow files come first.
unit: install $(VENV)/.interpreter
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 15

bench: install ## benchmarks: ratios against named peers
	$(BIN)/python -m tests.benchmarks

docs: install ## write the generated parts of docs/
	$(BIN)/python -m priorlang.diagnostics.pages > docs/findings.md
	$(BIN)/python -m priorlang.syntax.grammar_page > docs/grammar.md
	$(BIN)/priorlang schema prior > docs/schema/prior.json
	$(BIN)/priorlang schema train > docs/schema/train.json
	$(BIN)/priorlang schema grid > docs/schema/grid.json

format: install ## apply ruff's fixes and layout
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and caches, never a run
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
