# Every target sets itself up: on a fresh machine Python 3.11 or newer with venv and pip is enough.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEMO := runs/demo
# One process a core, at most four; the tests of a file run in one process and share its models.
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

.PHONY: help demo test test-all lint docs format clean web-runtime
.DELETE_ON_ERROR:

help:
	@echo 'make demo     train the SMS spam filter, ask it about two messages, name the run folder'
	@echo 'make test     lint, types and tests'
	@echo 'make test-all lint, types, all tests with the slow ones, coverage of lines'
	@echo 'make lint     ruff and mypy alone'
	@echo 'make docs     build the documentation site in site/'
	@echo 'make web-runtime  the npm packages for the tests of the web page, where there is npm'
	@echo 'make format   put the code into its standard form'
	@echo 'make clean    remove the virtual environment, caches and the demo'

demo: $(VENV)/.demo
	$(BIN)/tamis train sms-spam -o $(DEMO) --overwrite
	@echo
	$(BIN)/tamis predict $(DEMO) \
		'Hey, running ten minutes late, save me a seat x' \
		'WINNER! Claim your free 1,000 prize now, call 0900 555 0199 before midnight'
	@echo
	@echo 'The report, the figures and the model are in $(DEMO)'
	@echo 'Its messages are of 2004 to 2011: docs/how-to/other-texts.md shows what they cannot teach'

test: lint
	$(PYTEST)

test-all: lint web-runtime
	$(PYTEST) --slow --cov --cov-report=term:skip-covered

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/.dev
	$(BIN)/mkdocs build --strict --quiet

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# What tamis export --to web runs in the browser, pinned by checksum in src/tamis/export/web/runtime.py.
# Tests of the page are skipped without it.
NPM_PACKAGES := onnxruntime-web@1.30.0 vscode-oniguruma@2.0.1
web-runtime: build/web/.installed
build/web/.installed: src/tamis/export/web/runtime.py
	@mkdir -p build/web
	@if command -v npm >/dev/null; then \
		npm install --prefix build/web --no-save --ignore-scripts --no-audit --no-fund --silent $(NPM_PACKAGES) && touch $@; \
	else echo 'npm is not installed: tests of the web page are skipped'; fi

# The stamps: nothing is installed again until the requirements or their pins change.
$(VENV)/.demo: EXTRAS := demo,tables,hub
$(VENV)/.dev: EXTRAS := demo,tables,hub,teacher,serve,search,tensorboard,mlflow,ray,docs,dev
$(VENV)/.demo $(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing tamis[$(EXTRAS)] at the versions of constraints.txt into $(VENV) (minutes, once)'
	@$(PIP) install -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo '$(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) $(DEMO) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
