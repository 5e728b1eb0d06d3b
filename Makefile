# Two commands for a newcomer: make demo, make test. Everything they need goes into .venv, from locked requirements.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The project itself is installed last and without its dependencies: those come from the lock files, checked by hash.
INSTALL = $(PIP) install --quiet --require-hashes -r $< && $(PIP) install --quiet --no-deps --no-build-isolation -e .

.PHONY: demo test fuzz lint format bench docs lock clean help

help:
	@echo "make demo    a model from its data to its API, with somebody who tampers and somebody who steals"
	@echo "make test    run the tests"
	@echo "make fuzz    200,000 random pickle programs against pickle's own machine"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make bench   measure beside the peers and write docs/performance.md"
	@echo "make lock    resolve the lock files under requirements/ anew"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(VENV)/bin/python
	$(INSTALL)
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	$(INSTALL)
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/python examples/demo/run.py

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

fuzz: $(VENV)/.dev
	ASSAY_FUZZ=200000 $(BIN)/python -m pytest -q -s tests/collect/scan/pickle/test_pickle_fuzz.py

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_repository.py

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Other scanners are measured beside assay where PEERS names a virtual environment that has them.
bench: $(VENV)/.dev
	$(BIN)/python bench/digest.py
	$(BIN)/python bench/policy.py --scratch /dev/shm
	$(BIN)/python bench/scan.py $(if $(PEERS),--peers $(PEERS))
	$(BIN)/python bench/load.py
	$(BIN)/python bench/poisoning.py
	$(BIN)/python bench/run.py
	$(BIN)/python bench/gateway.py
	$(BIN)/python bench/gateway_detect.py
	$(BIN)/python bench/table.py

# No index address may stand in a lock file: whoever installs decides where from, the hashes decide what.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-package assay pyproject.toml
lock: $(VENV)/.dev
	$(LOCK) -o requirements/base.txt
	$(LOCK) --extra all -o requirements/all.txt
	$(LOCK) --extra gateway --extra watch --group demo -o requirements/demo.txt
	$(LOCK) --extra all --group dev -o requirements/dev.txt

clean:
	rm -rf $(VENV) demo-run dist .coverage* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis
