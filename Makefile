# make demo | test | lint | bench | faults: each makes .venv first, from pinned versions.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
QDRANT := .tools/qdrant
STAMP := $(VENV)/.installed

.PHONY: help demo test lint bench faults clean

help:
	@echo "make demo    ingest examples/dois.txt and search it, nothing configured"
	@echo "make test    all tests, against a real Redis and a real Qdrant server"
	@echo "make lint    ruff and mypy"
	@echo "make bench   measure what the README claims"
	@echo "make faults  kill everything at every step of a promotion, 20 times (20 minutes)"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "doivec needs Python 3.11 or newer; make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@

$(QDRANT): tests/fetch_qdrant.sh
	bash tests/fetch_qdrant.sh $@

demo: $(STAMP)
	$(BIN)/doi-worker ingest examples/dois.txt
	$(BIN)/doi-worker search 10.1038/s41586-020-2649-2 -k 5

test: $(STAMP) $(QDRANT)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP) $(QDRANT)
	$(BIN)/python -m benchmarks

faults: $(STAMP) $(QDRANT)
	$(BIN)/python -m tests.faults

clean:
	rm -rf $(VENV) .tools
