# `make help` lists the targets. Nothing but Python 3.11+ (with pip and venv) and make is needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PORT ?=
# How many schedules `make simulate` runs, and from which seed on
SEEDS ?= 100000
FROM ?= 0
# Extra arguments for pytest: make test ARGS="-k rotation"
ARGS ?=
SERVER := $(VENV)/.server-ready
DEV := $(VENV)/.dev-ready
LOCK := $(VENV)/lock
TYPED := $(wildcard src tests/typing)
COMPILE := $(LOCK)/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header --no-annotate

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench screenshots simulate lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(DEV) ## make .venv with everything for development (PYTHON=python3.12 to choose; `make clean` first to change)
	@echo "ready: $(BIN)/sessile on $$($(BIN)/python --version)"

demo: $(SERVER) ## start a seeded, throw-away Sessile and say where to look (PORT=8000)
	$(BIN)/sessile demo $(if $(PORT),--port $(PORT))

test: lint ## lint, then run every test (ARGS="-k rotation" to choose)
	$(BIN)/python -m pytest -n 2 --dist loadscope --max-worker-restart 2 $(ARGS)

lint: $(DEV) ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(TYPED)

format: $(DEV) ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV) ## measure, as ratios within one run
	$(BIN)/python -m bench

screenshots: $(DEV) ## take the pictures in docs/pictures anew, from a demo
	$(BIN)/python -m tools.screenshots

simulate: $(DEV) ## run schedules of the near cache and its protocol (SEEDS=100000 FROM=0)
	$(BIN)/python -m sessile.testing.simulator --seeds $(SEEDS) --from $(FROM)

lock: $(LOCK)/bin/uv ## remake the pins in requirements/ from pyproject.toml (UPGRADE=1 takes newer releases)
	$(COMPILE) $(if $(UPGRADE),--upgrade) --extra server --group build --output-file requirements/server.txt
	$(COMPILE) $(if $(UPGRADE),--upgrade) --extra server --extra starlette --extra fastapi --extra postgres --extra redis \
		--extra flask --extra django --extra device --extra leases --extra aws --extra places --group dev \
		--constraints requirements/server.txt --output-file requirements/dev.txt

clean: ## remove .venv, caches and builds
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests bench examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Sessile needs Python 3.11 or newer; name one: make setup PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# What the server needs, and the package itself in place: enough for `make demo`.
$(SERVER): requirements/server.txt pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r requirements/server.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements/dev.txt $(SERVER)
	$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

$(LOCK)/bin/uv: | $(BIN)/python
	$(BIN)/python -m venv $(LOCK)
	$(LOCK)/bin/python -m pip --quiet --disable-pip-version-check install uv
