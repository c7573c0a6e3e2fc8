# The verbs of this repository. Setup is done on the way: each verb makes what it needs and no more.
#   PYTHON=…   interpreter for .venv (3.11 or 3.12)

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo up down status test lint bench evals docs lock clean

# Set in some environments; it makes every start of a process two to three times as slow.
unexport PYTHONDONTWRITEBYTECODE
export PYTHON

BIN := .venv/bin
SOURCE ?= simulator
KEEP ?= 1

help: ## List these verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.project .venv/.jars ## Install into .venv and .tools what the stack needs (Python 3.11 or 3.12 is enough)

demo: setup ## Run the whole graph: make demo [SOURCE=azure-pdm DATA=folder] [KEEP=0]
	@$(BIN)/opsgraph demo --source $(SOURCE) $(if $(DATA),--data $(DATA)) $(if $(filter 0,$(KEEP)),--no-keep,--keep)

up: setup ## Start the embedded stack and wait until it is ready
	@$(BIN)/opsgraph up

down: ## Stop every process of the stack; data stay
	@$(BIN)/opsgraph down

status: ## Health of each service, rows per layer, champions, index builds
	@$(BIN)/opsgraph status

test: .venv/.dev .venv/.jars ## Run the tests: make test [ARGS="tests/unit -k name"]
	@$(BIN)/python -m pytest $(ARGS)

lint: .venv/.dev ## Everything that reads code without running it; .ci/run lists the steps
	@.ci/run lint

bench: .venv/.dev .venv/.jars ## Measure into build/bench/: make bench [ONLY=name]
	@.ci/measure tests/benchmarks $(ONLY)

evals: .venv/.dev .venv/.jars ## Score models and answers into build/: make evals [ONLY=name]
	@.ci/measure tests/evals $(ONLY)

docs: setup ## Serve the warehouse's documentation
	@$(BIN)/opsgraph docs

lock: ## Compile the hashed locks anew from pyproject.toml
	@deployment/bootstrap lock

clean: ## Stop the stack and delete its data, logs and build outputs (not .venv)
	@if [ -x $(BIN)/opsgraph ]; then $(BIN)/opsgraph down --delete-data; fi
	@rm -rf build dbt_project/target dbt_project/logs .pytest_cache .ruff_cache .import_linter_cache

.venv/.runtime: requirements.lock
	@echo "installing the locked packages into .venv (about 840 MB the first time)"
	@deployment/bootstrap runtime
	@touch $@

.venv/.project: .venv/.runtime pyproject.toml
	@deployment/bootstrap project
	@touch $@

.venv/.dev: .venv/.project requirements-dev.lock
	@deployment/bootstrap dev
	@touch $@

.venv/.jars: .venv/.project deployment/embedded/kafka_jars.lock
	@deployment/bootstrap jars
	@touch $@
