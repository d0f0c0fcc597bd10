# make demo and make test do their own set-up; they need Python 3.11 or newer and make, nothing else.
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# pip says nothing for minutes while it unpacks torch; a line now and then shows that it is alive.
ALIVE := (s=0; while sleep 20 >/dev/null 2>&1; do s=$$((s + 20)); echo "      ... still installing, $$s s"; done) & alive=$$!; \
	trap 'kill $$alive 2>/dev/null' EXIT;
SRC := .mypy_cache/src
QUESTION ?= What is this, and how is it treated?
IMAGE ?= examples/sure.png

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo test test-neo4j lint types format clean

help: ## what there is
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## make .venv and install CLARIFY into it
install-dev: $(VENV)/.installed-dev ## the same with everything the tests and tools need

$(BIN)/python:
	@found=""; \
	for candidate in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "CLARIFY needs Python 3.11 or newer; none found on PATH (or set PYTHON=...)." >&2; exit 1; fi; \
	echo "[1/3] creating $(VENV) with $$($$found --version)"; \
	"$$found" -m venv "$(VENV)" || { echo "The venv module is missing; Debian and Ubuntu have it in the package python3-venv." >&2; rm -rf "$(VENV)"; exit 1; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "[2/3] installing CLARIFY and what it needs (several minutes the first time: torch alone is large)"
	@$(ALIVE) $(PIP) install -c constraints.txt -e .
	@touch $@
	@echo "[3/3] ready: $(BIN)/clarify --help"

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "[2/3] installing CLARIFY with the tools for tests (several minutes the first time: torch alone is large)"
	@$(ALIVE) $(PIP) install -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.installed $@
	@echo "[3/3] ready"

demo: install ## install, ask a real question about an example picture, print the answer
	$(BIN)/clarify ask "$(QUESTION)" -i "$(IMAGE)"

test: install-dev ## install and run every test that needs no server and no GPU
	$(BIN)/python -m pytest -m "not neo4j"

test-neo4j: install-dev ## the contract suite against a real Neo4j server
	$(BIN)/python tests/neo4j/server.py

lint: install-dev types ## ruff and mypy
	$(BIN)/ruff check .

$(SRC)/clarify: # the root is the package `clarify`, whatever the folder of the clone is called
	@mkdir -p $(SRC) && ln -sfn ../.. $@

types: install-dev $(SRC)/clarify ## mypy alone
	cd $(SRC) && "$(CURDIR)/$(BIN)/mypy" --config-file clarify/pyproject.toml --cache-dir .. \
	  $(patsubst %,-p clarify.%,agent apps bench graph_schema tools training) -m clarify.errors -m clarify.hashing -m clarify.settings

format: install-dev ## sort imports and fix what ruff can fix
	$(BIN)/ruff check --fix .

clean: ## remove .venv and caches
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
