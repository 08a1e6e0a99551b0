# Two commands on a fresh machine: `make demo` and `make test`. Both build the virtual environment first.
# `make bench` takes about ten minutes, needs no data, and wants a machine that does nothing else.
# Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: demo test check format bench clean
.DELETE_ON_ERROR:

demo: $(INSTALLED)
	$(BIN)/ser demo

# A worker a processor, eight at most; one that runs out of tests takes over another's. Their threads sleep while they
# wait: each worker has as many as there are processors, and waiting busily they took 2.5 times the time of the work.
test: $(INSTALLED)
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal --durations 10

check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Small enough for any machine; each script says how to run it on real data and at full size.
bench: $(INSTALLED)
	$(BIN)/python benchmarks/extraction.py untrained:wav2vec2-base --clips 60 --repeats 2
	$(BIN)/python benchmarks/store.py --layers 13 --frames 5000 --width 768 --repeats 5
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/flips.py
	$(BIN)/python benchmarks/kills.py

# The marker is newer than what decides the environment's content; touching either file installs again.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "ser_cache needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...")'
	@echo "Building $(VENV) and installing into it, about 2 GB; this takes a few minutes the first time."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
