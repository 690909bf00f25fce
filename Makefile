# Needs Python 3.11+ and make; everything else is installed into .venv. `make help` lists the targets.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
TEST_JOBS ?= 2
QUICK := not e2e and not browser and not measured
SLOW := e2e or browser
# What needs no database is tested once; of what starts real processes, the shop's path and the fault harness go twice.
NO_DATABASE := --ignore tests/integrations/braze/sandbox --ignore tests/integrations/braze/delivery/test_limiter_processes.py
ON_POSTGRES := tests/e2e/test_demo.py tests/e2e/test_restored_backup.py tests/e2e/test_torture.py

.DEFAULT_GOAL := help
.PHONY: isolation help run demo test test-all test-e2e test-postgres lint format types imports check clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

run: $(STAMP) ## Everything up with sample data: admin, workers, embedded Redis, sandbox. Ctrl-C stops it
	@$(BIN)/python -m dev.run

demo: $(STAMP) ## Sync the sample data into the sandbox, compare with the raw file, exit
	@$(BIN)/python -m dev.demo $(DEMO_ARGS)

test: $(STAMP) ## The tests that SQLite and the embedded Redis can run
	@$(BIN)/python -m pytest -n $(TEST_JOBS) -m "$(QUICK) and not postgres" $(PYTEST_ARGS)

test-all: test test-e2e test-postgres ## The whole suite, on SQLite and then on a temporary PostgreSQL

test-e2e: $(STAMP) ## What `make test` leaves out on SQLite: real workers, the browser
	@$(BIN)/python -m pytest -n $(TEST_JOBS) -m "browser and not e2e and not postgres" $(PYTEST_ARGS)
	@$(BIN)/python -m pytest -m "e2e and not postgres" $(PYTEST_ARGS)

test-postgres: $(STAMP) ## On a temporary PostgreSQL: all that has to do with a database, the demo, the fault harness
	@$(BIN)/python -m dev.postgres $(BIN)/python -m pytest -n $(TEST_JOBS) -m "$(QUICK)" $(NO_DATABASE) $(PYTEST_ARGS)
	@$(BIN)/python -m dev.postgres $(BIN)/python -m pytest -n $(TEST_JOBS) -m "$(SLOW)" $(ON_POSTGRES) $(PYTEST_ARGS)

lint: $(STAMP) ## Style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(STAMP) ## Make the style right where that can be automatic
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(STAMP) ## Types
	@$(BIN)/mypy integrations masivo_braze settings dev

imports: $(STAMP) ## Which package may import which
	@$(BIN)/lint-imports

check: lint types imports ## Style, types, import rules

clean: ## Remove .venv, caches and the development state under var/
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache staticfiles var
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.txt requirements-dev.txt dev/bootstrap.py
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not there. Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 …"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is %s: make PYTHON=/path/to/python3.11 ..." % sys.version.split()[0])'
	@$(PYTHON) -m dev.bootstrap

.PHONY: torture sabotage screenshots bench
SEEDS ?= 100

torture: $(STAMP) ## SEEDS=100 random workloads under random faults (FIRST=1; on PostgreSQL where DATABASE_URL names one)
	@$(BIN)/python -m tests.e2e.harness.torture --seeds $(SEEDS) --first $(or $(FIRST),1)

sabotage: $(STAMP) ## Break ten promises on purpose, one by one: the fault harness must notice each
	@$(BIN)/python -m tests.e2e.harness.sabotage

bench: $(STAMP) ## How fast it is: measured on real PostgreSQL, Redis and workers, in some ten minutes
	@$(BIN)/python -m benchmarks

screenshots: $(STAMP) ## docs/screenshots anew: each page of the console, desktop and phone, light and dark (PAGES="settings people")
	@$(BIN)/python -m dev.screenshots $(PAGES)

isolation: $(STAMP) ## How a healthy account fares beside six bad ones, on SQLite and on PostgreSQL: figures, with bounds
	@$(BIN)/python -m pytest -m measured -s $(PYTEST_ARGS)
	@$(BIN)/python -m dev.postgres $(BIN)/python -m pytest -m measured -s $(PYTEST_ARGS)
