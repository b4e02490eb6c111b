# Every target does its own set-up on a machine that has Python 3.11+, make and git: it makes .venv and installs
# the versions of constraints.txt there, once. To choose an interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-slow lint bench clean

demo: $(VENV)/.installed  ## the claims of HRM in a few minutes: one seed, 500 steps for each arm, and a report
	$(BIN)/tenfold run hrm --seeds 1 --training.steps 500

test: lint  ## all checks and the default tests
	$(BIN)/python -m pytest

test-slow: $(VENV)/.installed-dev  ## the tests that need more than a minute each
	$(BIN)/python -m pytest -m "slow and not gpu"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed  ## speed beside what one would use instead
	set -e; for file in benchmarks/*.py; do $(BIN)/python $$file; done

clean:  ## remove what the targets made, but no runs
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache src/*.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) --editable '.[dev,arc,gguf,control,math,search,tantivy]'
	touch $@
