# Every command of the project; CI (.ci/run) calls these and nothing else.
# POSIX sh, GNU make 3.81 or newer: Linux, and macOS as it comes.
#
#   PYTHON=python3.11   interpreter to try first
#   VENV=.venv          where the virtual environment is kept
#   ARGS="..."          further arguments of the command

PYTHON ?=
VENV ?= .venv
ARGS ?=

BIN = $(VENV)/bin
PYTHONS = $(PYTHON) python3.12 python3.11 python3
# A name on the PATH may be a shim that does not run, or a Python that cannot make environments.
FITS = import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
NEW_VENV = { \
  for python in $(PYTHONS); do \
    "$$python" -c '$(FITS)' 2>/dev/null || continue; \
    echo "$(VENV): $$("$$python" --version), $$python"; \
    "$$python" -m venv --clear $(VENV); exit; \
  done; \
  echo "expected Python 3.11 to 3.13 with venv and ensurepip, received none of: $(strip $(PYTHONS))."; \
  echo "Install one (Debian: apt install python3-venv) or name it: make PYTHON=/path/to/python"; \
  exit 1; } >&2

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help venv mnist test test-all test-backends lint format wheel docs bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

mnist: $(VENV)/.core ## train on MNIST as the paper does, gamma = 0 (ARGS="--alpha 0.5")
	$(BIN)/python -m trainers.mnist --gamma 0 $(ARGS)

test: $(VENV)/.dev ## run the quick tests, a few minutes on two cores (ARGS="-k ntg -x")
	$(BIN)/python -m pytest $(ARGS)

test-all: $(VENV)/.dev ## run every test, the slow ones included
	$(BIN)/python -m pytest --run-slow $(ARGS)

test-backends: $(VENV)-backends/.done ## layers, nesting, pruning on JAX and torch (ARGS="-k jax")
	$(VENV)-backends/bin/python -m pytest -n0 --run-slow tests/backends tests/test_backend.py tests/test_layers_keras.py -k backend $(ARGS)

lint: $(VENV)/.dev ## ruff and mypy; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## ruff's fixes and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(VENV)/.dev ## build dist/*.whl from the sdist, install and import it elsewhere
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python .ci/check_wheel.py dist/*.whl

docs: $(VENV)/.docs ## build the documentation in site/, its tutorials run; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build $(ARGS)

bench: $(VENV)/.core $(VENV)-bench/.done ## training speed beside PyTorch and JAX (ARGS="--only mnist")
	$(BIN)/python -m benchmarks.training --peer-python $(VENV)-bench/bin/python $(ARGS)

clean: ## remove everything made here, run folders excepted
	rm -rf $(VENV) $(VENV)-bench $(VENV)-backends build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv: $(VENV)/.dev ## virtual environment with the package (editable) and the developers' tools

# A stamp is newer than pyproject.toml once that is installed: then nothing happens here.
$(VENV)/.dev: EXTRAS = [dev]
$(VENV)/.docs: EXTRAS = [docs]
$(VENV)/.core $(VENV)/.dev $(VENV)/.docs: pyproject.toml
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(NEW_VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --editable '.$(EXTRAS)'
	@touch $(VENV)/.core $@

# Keras's other backends, beside TensorFlow.
$(VENV)-backends/.done: tests/backends/requirements.txt $(VENV)/.core
	$(BIN)/python -m venv $(VENV)-backends
	$(VENV)-backends/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-backends/bin/python -m pip install --editable . --requirement tests/backends/requirements.txt
	@touch $@

# The peers of the benchmarks: far larger than all the rest, and nothing else needs them.
$(VENV)-bench/.done: benchmarks/requirements.txt $(VENV)/.core
	$(BIN)/python -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-bench/bin/python -m pip install --requirement benchmarks/requirements.txt
	@touch $@
