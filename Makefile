# Everything runs in .venv, made from constraints.txt on first use; only python3 (3.11 to 3.13, with venv) is needed.
# `make help` lists the targets; `make PYTHON=python3.12 test` chooses the interpreter.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile
TUNE ?= digits-mlp
# What pip is told to install PyTorch: with the options of its CPU builds' index the peers need no gigabytes of CUDA.
TORCH ?= torch==2.13.0

.PHONY: help install tune test test-all lint format figures docs dashboard peers clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
	  "expected Python 3.11 to 3.13, got %d.%d; name one: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	@touch $@

.venv/.installed-%: .venv/.installed
	$(PIP) --editable '.[$*]'
	@touch $@

install: .venv/.installed  ## the package and its command in .venv

tune: .venv/.installed  ## tune a small network on the embedded digits (TUNE=mnist-fcn: another problem)
	$(BIN)/ibo-jax tune $(TUNE)

test: .venv/.installed-test  ## every test but the long statistical ones
	$(PYTEST)

test-all: .venv/.installed-test  ## the long statistical ones too, compiled as for use
	XLA_FLAGS=--xla_cpu_multi_thread_eigen=false $(PYTEST) -m 'slow or not slow'

lint: .venv/.installed-test  ## style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/.installed-test  ## rewrite to the style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

figures: .venv/.installed  ## redraw every figure and table under experiments/ from the stored rows
	@find experiments -name plot.py | sort -r | sed 's|/|.|g; s|.py$$||' | xargs -n 1 -P 2 $(BIN)/python -m

docs: .venv/.installed-docs  ## the documentation, what each function does, as pages in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

dashboard: .venv/.installed-dashboard  ## the newest study in a browser
	$(BIN)/optuna-dashboard "sqlite:///$$(ls -t runs/*/study.db | head -1)"

peers:  ## the libraries that we are measured against, in .venv-peers
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet $(TORCH)
	@while read -r peer; do echo "$$peer"; \
	  .venv-peers/bin/python -m pip install --quiet $$peer < /dev/null || echo "not installed: $$peer"; \
	  done < experiments/benchmarks/peers/requirements.txt

clean:  ## remove .venv and caches, keep runs/
	rm -rf .venv .venv-peers build site .pytest_cache .mypy_cache .ruff_cache
