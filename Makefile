# One place for every command. `make demo` and `make test` need nothing but Python >= 3.11 and the package registries.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Processes that run tests; each of them uses one thread.
WORKERS ?= 2

.PHONY: help setup demo test test-browser test-all check bench docs clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(READY)  ## a virtual environment with Packshot and its tools

$(READY): pyproject.toml constraints/cpu.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/cpu.txt -e '.[dev]'
	@touch $(READY)

demo: setup  ## real photos in, new product pictures and a report out
	$(BIN)/packshot data fetch fashion-mnist --out demo/data
	test -f demo/catalog/catalog.json || $(BIN)/packshot ingest demo/data --out demo/catalog
	rm -rf demo/run demo/pictures
	$(BIN)/packshot train demo/catalog --out demo/run --budget 150s
	$(BIN)/packshot create demo/run --n 60 --seed 7 --out demo/pictures
	$(BIN)/packshot evaluate demo/run
	$(BIN)/packshot report demo/run

test: setup  ## the default tests, under five minutes on two cores
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not gpu and not browser"

test-browser: setup  ## the pages' stories in a headless Chromium; skipped where there is none
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m browser

test-all: setup  ## all tests that this machine can run
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

check: setup  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## benchmarks; docs/benchmarks.md says what they print
	$(BIN)/python -m benchmarks

docs: setup  ## check that the documentation is true
	$(BIN)/python -m pytest tests/docs

clean:  ## remove the virtual environment and the demo
	rm -rf $(VENV) demo
