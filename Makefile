# Recast. `make` lists the targets; each installs its requirements.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# A service is a folder of services/; a test compares recast.contracts.services with it.
SERVICES := $(notdir $(patsubst %/pyproject.toml,%,$(wildcard services/*/pyproject.toml)))
PROJECTS := libs/contracts libs $(addprefix services/,$(SERVICES))
# The folders of our own packages, for mypy.
SOURCES := libs/recast $(foreach each,$(SERVICES),services/$(each)/src)
# The tests that `make test` also runs on PostgreSQL: bytes from end to end, and failing work.
MAIN_FLOWS := bytes.py batches.py
# For CI: a third of the slow tests (THIRD=2/3), and some files completely (WHOLE=tests/...).
PART = $(if $(THIRD),--third $(THIRD)) $(addprefix --whole=,$(filter %.py,$(WHOLE)))
# The folders of the long tests, which `make test` leaves out.
LONG := $(wildcard tests/*/long tests/*/*/long)
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile
# An empty variable, to write a space in `subst`.
EMPTY :=
PIP := $(BIN)/python -m pip --disable-pip-version-check
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sort -t: -k1,1 | awk -F ':.*## ' '{printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}'

.PHONY: setup
setup: $(READY) tools ## Virtual environment from the hashed lock file, and the programs that disks need

$(READY): requirements.lock $(addsuffix /pyproject.toml,$(PROJECTS))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Recast needs Python 3.11 or later; set PYTHON=...")'
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { scripts/need python3-venv "a virtual environment" force; $(PYTHON) -m venv $(VENV); }
	@echo "installing the locked dependencies into $(VENV), once; takes about 40 s"
	$(PIP) install --quiet --require-hashes --requirement requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --no-index $(addprefix --editable ,$(PROJECTS))
	@touch $@

.PHONY: tools
tools:
	@scripts/need qemu-utils qemu-img
	@scripts/need e2fsprogs mke2fs

.PHONY: demo
demo: setup ## Run the main job on real disks, with progress and a closing table (REPORT=file.json)
	$(BIN)/python -m tests.demo.demo $(if $(REPORT),--report $(REPORT))

.PHONY: up
up: setup ## Run the three services in the foreground, with data under .recast/ (FIRST_PORT=7101)
	@$(BIN)/python -m recast.stack --root .recast --first-port $(or $(FIRST_PORT),7101)

.PHONY: docker
docker: setup ## A Docker engine and Compose, installed and started where there are none
	@scripts/docker-engine $(BIN)/docker-compose

.PHONY: images
images: docker ## Build the images of docker-compose.yml; without a registry too
	@docker/images $(BIN)/python

.PHONY: secrets
secrets: setup ## Make every key and password that docker-compose.yml needs, in .secrets/
	@$(BIN)/python -m recast.stack.secrets --folder $(or $(RECAST_SECRETS),.secrets)

.PHONY: test
test: setup postgres ## Run the tests (under three minutes)
	$(PYTEST)
	$(PYTEST) --databases postgresql $(addprefix tests/system/test_,$(MAIN_FLOWS))

.PHONY: test-long
test-long: setup postgres ## Run the tests that take over 10 s or start processes: the demo, hosts, moved databases, journals
	$(PYTEST) $(LONG)

.PHONY: test-all
test-all: check test-long test-postgresql demo test-e2e test-crash test-faults test-reverts ## Run every test (an hour)

.PHONY: test-postgresql
test-postgresql: setup postgres ## Run the three services' tests on PostgreSQL
	$(PYTEST) --databases postgresql tests/system tests/system/long

.PHONY: test-crash
test-crash: setup ## Kill each service at every point of every kind of work, and check that nothing is lost (KILLS=500)
	$(BIN)/python -m tests.faults.kills.kills --kills $(or $(KILLS),500) $(if $(THIRD),--third $(THIRD)) $(if $(REPORT),--report $(REPORT))

.PHONY: test-faults
test-faults: setup postgres ## Inject faults into disks, network and power; race, retry and cancel; check that nothing is lost
	@scripts/need build-essential cc
	$(PYTEST) tests/faults $(PART)

.PHONY: test-reverts
test-reverts: setup postgres ## Take back the fix of each known fault, alone, and see its tests fail (FAULT=FAULT-F08)
	$(BIN)/python -m tests.reverts $(FAULT) $(PART)

.PHONY: test-model
test-model: setup ## Compare the services with their model by random requests (SEED=1 STEPS=10000)
	$(BIN)/python -m tests.faults.model --seed $(or $(SEED),1) --steps $(or $(STEPS),10000)

.PHONY: test-e2e
test-e2e: images ## Test the services in containers: the main job, faults of the containers, the README's commands
	@scripts/need iptables iptables
	$(PYTEST) tests/e2e $(PART)

.PHONY: postgres
postgres:
	@scripts/need postgresql postgres

.PHONY: check
check: format-check lint types layers contracts rules test ## Everything CI runs

.PHONY: format
format: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: format-check
format-check: setup
	$(BIN)/ruff format --check .

.PHONY: lint
lint: setup
	$(BIN)/ruff check .

.PHONY: types
types: setup ## Check the types
	MYPYPATH=libs:libs/contracts:$(subst $(EMPTY) ,:,$(foreach each,$(SERVICES),services/$(each)/src)) $(BIN)/mypy $(SOURCES)

.PHONY: layers
layers: setup ## Check the imports between packages
	$(BIN)/python scripts/linter_config.py --check
	$(BIN)/lint-imports

.PHONY: linter-config
linter-config: setup ## Generate .importlinter from the lists of libs and services
	$(BIN)/python scripts/linter_config.py

.PHONY: generate
generate: setup ## Generate the Python code of the contracts
	$(BIN)/python libs/contracts/generate.py

.PHONY: contracts
contracts: setup ## Lint the contracts, compare them with the released ones, check that generated code is fresh
	$(BIN)/python libs/contracts/check.py

.PHONY: diagrams
diagrams: setup ## Draw the state tables into the READMEs
	$(BIN)/python -m tests.repo.state_diagrams

.PHONY: seed
seed: setup ## Put the demo's data into the services that `make up` runs
	$(BIN)/python -m tests.demo.seed

.PHONY: rules
rules: setup ## Print the 68 rules, with the definition and the tests of each
	@$(BIN)/python -m tests.repo.rules_matrix

.PHONY: bench
bench: setup ## Measure speed and memory beside peers, in one run (REPORT=file.json)
	$(BIN)/python -m tests.bench.bench $(if $(REPORT),--report $(REPORT))

.PHONY: bench-load
bench-load: setup postgres ## Measure calls a second against their limits, and pages of 1,000,000 (REPORT=file.json)
	@scripts/need nghttp2-client h2load
	$(BIN)/python -m tests.bench.load --backups $(or $(BACKUPS),1000000) $(if $(REPORT),--report $(REPORT)) \
		$(if $(SOAK_MINUTES),--soak-minutes $(SOAK_MINUTES))

.PHONY: lock
lock: setup ## Pin the newest versions of requirements.in, with hashes
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o requirements.lock requirements.in

.PHONY: clean
clean: ## Remove all build results; data under .recast/ stays
	rm -rf $(VENV) .build .mypy_cache .ruff_cache .hypothesis .import_linter_cache
