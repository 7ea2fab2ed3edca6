# Everything runs in .venv, made from constraints.txt on first use; only python3 (3.11 to 3.13, with venv) is needed.
# `make help` lists the targets; `make PYTHON=python3.12 test` chooses the interpreter.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile
TUNE ?= digits-mlp
# How pip installs PyTorch: the options of the index of CPU builds save gigabytes of CUDA for the peers.
TORCH ?= torch==2.13.0

.NOTPARALLEL:  # two pips at once spoil .venv
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

install: .venv/.installed  ## install the package and its command in .venv

tune: .venv/.installed  ## tune a small network on scikit-learn's digits (TUNE=mnist-fcn: another problem)
	$(BIN)/ibo-jax tune $(TUNE)

test: .venv/.installed-test  ## run all tests except the long statistical ones
	$(PYTEST)

test-all: .venv/.installed-test  ## run all tests, also the long ones, compiled as in use
	XLA_FLAGS=--xla_cpu_multi_thread_eigen=false $(PYTEST) -m 'slow or not slow'

lint: .venv/.installed-test  ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/.installed-test  ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

figures: .venv/.installed  ## redraw every figure and table under experiments/ from the stored rows
	@find experiments -name plot.py | sort -r | sed 's|/|.|g; s|.py$$||' | xargs -n 1 -P 2 $(BIN)/python -m

docs: .venv/.installed-docs  ## write the documentation, with a reference of all functions, to site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

dashboard: .venv/.installed-dashboard  ## open the newest study in a browser
	$(BIN)/optuna-dashboard "sqlite:///$$(ls -t runs/*/study.db | head -1)"

peers:  ## install the tools that we compare with in .venv-peers
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet $(TORCH)
	@while read -r peer; do echo "$$peer"; \
	  .venv-peers/bin/python -m pip install --quiet $$peer < /dev/null || echo "not installed: $$peer"; \
	  done < experiments/benchmarks/peers/requirements.txt

clean:  ## remove environments, builds and caches, but keep runs/
	rm -rf .venv .venv-peers build site .pytest_cache .mypy_cache .ruff_cache
