# `make serve` runs the proxy, `make test` checks everything; both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# The CPU build is enough for every test of the model package.
TORCH := torch==2.13.0

.PHONY: serve test lint types unit bench export clean

$(VENV)/.serve: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH)
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.serve

serve: $(VENV)/.serve
	$(BIN)/sculptor serve

test: lint types unit

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	@test "$$(git ls-files -z | xargs -0 stat --format=%s | awk '{s += $$1} END {print s}')" \
	  -lt 50331648 || { echo 'The tracked tree is over 48 MiB.'; exit 1; }

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

unit: $(VENV)/.dev
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
	  --cov=sculptor --cov-branch --cov-report=
	$(BIN)/coverage report --include='sculptor/store/*,sculptor/tools/*' --fail-under=95
	$(BIN)/coverage report --omit='sculptor/mom/*' --fail-under=90 --format=total

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

export: $(VENV)/.dev
	$(BIN)/python -m sculptor.server.document server
	$(BIN)/python -m sculptor.tools.export tools

clean:
	rm -rf $(VENV) .venvs
