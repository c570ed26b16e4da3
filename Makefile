# kd_lab: `make` alone explains itself.
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
READY = $(VENV)/.ready
# Beside the environment, not in it: Hydra's plugins make every start slower.
LAUNCHERS = hydra-joblib-launcher hydra-submitit-launcher joblib submitit cloudpickle

.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow reliability ship pictures lint audit clean

help: ## Show this.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: $(READY) ## Make a virtual environment in .venv with everything in it.

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

run: $(READY) ## Distil a small sentiment classifier from real weights and real sentences, in minutes on two cores.
	$(BIN)/python -m kd_lab.run experiment=quickstart

test: $(READY) ## Run the tests: tiny random models, toy sentences, at most 10 minutes on two cores.
	$(BIN)/python -m pytest -n 2

test-slow: $(READY) ## Run the tests with real weights and real sentences, and those that wait or take long.
	$(BIN)/python -m pytest -m slow

$(VENV)/sweeps: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps --target $@ $(LAUNCHERS)

reliability: $(VENV)/sweeps ## Kill a hundred runs and a sweep at random moments and compare what becomes of them; an hour.
	$(BIN)/python -m pytest -m reliability
	$(BIN)/python tests/killing.py 100
	PYTHONPATH=$(VENV)/sweeps $(BIN)/python tests/killing_sweeps.py

ship: $(READY) ## Take students of one and of two teachers from training to export, card and demo page, without the model hub.
	$(BIN)/python tests/shipping.py outputs

pictures: $(READY) ## Take the pictures of the docs from what `make ship` made, with the system's chromium.
	$(BIN)/python tests/pictures.py outputs docs/pictures

lint: $(READY) ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: $(READY) ## Look the pinned versions up among the known vulnerabilities.
	$(BIN)/python .ci/audit.py

clean: ## Remove the virtual environment and caches; outputs/ stays.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist
