# Everything there is to do with a checkout. `make` alone prints the list.

PYTHON := .venv/bin/python
SWITCHYARD := $(PYTHON) -m cli.main
RUNTIME := .venv/.runtime
DEV := .venv/.dev

# DETACH=1 and DEMO=1; 0 counts as not set.
detach := $(if $(filter-out 0,$(DETACH)),--detach)
demo := $(if $(filter-out 0,$(DEMO)),--demo)

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help up down demo test check format bench clean-data

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-11s %s\n", $$1, $$2 }'

up: ## start everything (DETACH=1: in the background, DEMO=1: with the demonstration)
	@deploy/bootstrap $(if $(demo),claude,runtime)
	@$(SWITCHYARD) up $(detach) $(demo)

down: $(RUNTIME) ## stop what `make up` started
	@$(SWITCHYARD) down

demo: $(RUNTIME) ## send real cases through a running Switchyard and show what comes out
	@$(SWITCHYARD) demo

test: $(DEV) ## run the tests with a real PostgreSQL and RabbitMQ (ARGS="-k name" picks some)
	@$(SWITCHYARD) provide-broker
	@$(PYTHON) -m pytest -n 2 --dist loadfile $(ARGS)

check: $(DEV) ## format, lint, types, import rules, generated documents, migrations
	@$(PYTHON) -m ruff format --check --quiet .
	@$(PYTHON) -m ruff check --quiet .
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports
	@$(PYTHON) -m docs.generate --check
	@$(SWITCHYARD) check-migrations

format: $(DEV) ## format the code and mend what the linter can mend
	@$(PYTHON) -m ruff format .
	@$(PYTHON) -m ruff check --fix .

bench: $(DEV) ## run the benchmarks
	@$(SWITCHYARD) provide-broker
	@$(PYTHON) -m bench $(ARGS)

clean-data: $(RUNTIME) ## remove the database, the broker's data and the logs of this checkout
	@$(SWITCHYARD) clean-data

$(RUNTIME): requirements.txt requirements-claude.txt deploy/bootstrap
	@deploy/bootstrap runtime

$(DEV): requirements-dev.txt deploy/bootstrap
	@deploy/bootstrap dev
