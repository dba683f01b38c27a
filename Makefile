# make demo   creates .venv, installs, and runs the whole way on daily index bars
# make test   the same, then runs the test suite
# make check  formatting, lint, types and the import table
# make        test and check, as CI does

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d%d" % sys.version_info[:2])')
CONSTRAINTS := constraints/py$(VERSION).txt
WORKERS ?= 2
READY := $(VENV)/.ready

.PHONY: all demo test check format constraints clean

all: test check

demo: $(READY)
	$(BIN)/walkforge run demo

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_house.py

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# torch comes first: where a smaller build of the pinned version is at hand, nothing asks for
# another one afterwards.
$(READY): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) torch
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[dev]'
	touch $(READY)

constraints/py%.txt:
	@echo "Walkforge runs on Python 3.11, 3.12 and 3.13; $(PYTHON) is another version." >&2
	@echo "Name one of them: make demo PYTHON=python3.12" >&2
	@exit 1

# Resolves all dependencies anew, once per Python.
constraints: $(READY)
	$(BIN)/python -m pip install --quiet uv
	echo 'torch==2.13.0' > $(VENV)/torch.txt
	for version in 3.11 3.12 3.13; do \
		$(BIN)/uv pip compile pyproject.toml --extra dev --python-version $$version \
			-c $(VENV)/torch.txt --no-header --no-annotate --no-emit-index-url --quiet --upgrade \
			-o constraints/py$$(echo $$version | tr -d .).txt; \
	done

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
