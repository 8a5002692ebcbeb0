# make demo | test | lint | bench | faults: each makes .venv first, from pinned versions.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
QDRANT := .tools/qdrant
PROMTOOL := .tools/promtool
STAMP := $(VENV)/.installed
# Tests that run side by side, each with servers of its own; many of them only wait.
AT_ONCE ?= 2
# Output only where it fails: setuptools has a page to say about editable packages.
QUIETLY = > $(VENV)/install.log 2>&1 || { cat $(VENV)/install.log; exit 1; }
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt

.PHONY: help demo test lint bench faults clean

help:
	@echo "make demo    ingest examples/papers.csv and search it, nothing configured"
	@echo "make test    all tests, against a real Redis and a real Qdrant server"
	@echo "make lint    ruff and mypy"
	@echo "make bench   measure what the README claims"
	@echo "make faults  break it in every way that is promised to do no harm; goes on where it stopped"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "doivec needs Python 3.11 or newer; make PYTHON=python3.12 ..."; exit 1; }
	@echo "Installing doivec and what it needs into $(VENV), once; that takes some minutes."
	@echo "It is 2 GB on disk with a torch for the CPU, 6 GB with one for CUDA, which"
	@echo "pip finds on Linux by default (docs/operations/run.md says how to choose)."
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --upgrade pip $(QUIETLY)
	@$(INSTALL) --editable . --group dev $(QUIETLY)
	@touch $@

$(QDRANT): tests/fetch_qdrant.sh
	bash tests/fetch_qdrant.sh $@

$(PROMTOOL): tests/fetch_promtool.sh
	bash tests/fetch_promtool.sh $@

demo: $(STAMP)
	$(BIN)/doi-worker ingest examples/papers.csv
	$(BIN)/doi-worker search --text "drawing large networks so that people can read them" -k 4
	$(BIN)/doi-worker search 10.1038/s41586-020-2649-2 -k 4

test: $(STAMP) $(QDRANT)
	$(BIN)/python -m pytest --numprocesses $(AT_ONCE) --dist worksteal

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
