# Every target sets up what it needs. Requirements: Python 3.11 or newer, and make.

PYTHON ?= python3
VENV ?= .venv
# Arguments for pytest: make test ARGS="-k outbox"
ARGS ?=

BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-stamp
DEVELOPMENT := $(VENV)/.dev-stamp
BENCH := $(VENV)/.bench-stamp
CONTRACTS := build/contracts.binpb
CONTRACT_SOURCES := $(wildcard protos/*.py protos/*/*/*.proto)

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV_COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-header -q

# Where it is set, every process would compile again what it imports, and pytest rewrite all tests.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Running

.PHONY: demo
demo: $(RUNTIME) ## Start the whole stack, run the demo journey, print each step, stop
	@$(BIN)/devstack demo

.PHONY: up
up: $(RUNTIME) ## Start the whole stack and keep it running until Ctrl-C
	@$(BIN)/devstack up

.PHONY: clean
clean: ## Delete the stack's data and all caches
	@if [ -x $(BIN)/devstack ]; then $(BIN)/devstack clean; \
	elif [ -d .dev ]; then echo "make: run 'make setup clean' to remove .dev" >&2; exit 1; fi
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* \
		build *.egg-info mutants examples/go/gen examples/typescript/gen examples/typescript/dist
	@find . \( -path './$(VENV)' -o -name node_modules \) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## Delete the virtual environment as well
	@rm -rf $(VENV) examples/typescript/node_modules

# Development

.PHONY: setup
setup: $(RUNTIME) $(DEVELOPMENT) $(CONTRACTS) ## Create the virtual environment with everything development needs

.PHONY: gen
gen: $(DEVELOPMENT) ## Compile the contracts into gen/
	@$(BIN)/python protos/compile.py gen

.PHONY: contracts
contracts: $(CONTRACTS) ## Write what other languages need of the contracts
	@echo "build/protos: the files that protos/ imports"
	@echo "$(CONTRACTS): the descriptor set of all contracts and imports"

.PHONY: docs
docs: $(RUNTIME) ## Generate docs/settings.md and the chart's list of settings from the settings classes
	@$(BIN)/python docs/generate_settings.py
	@$(BIN)/python deploy/helm/write_setting_names.py

.PHONY: manifests
manifests: ## Render deploy/kubernetes/ from the Helm chart (needs helm)
	@command -v $${HELM:-helm} >/dev/null || { \
		echo "make: helm is needed for this: put it on the PATH, or name it by HELM" >&2; exit 1; }
	@$(PYTHON) deploy/kubernetes/render.py

.PHONY: fuzz
fuzz: $(RUNTIME) $(DEVELOPMENT) ## Send many more random requests than the tests do
	@FUZZ_EXAMPLES=1000 $(BIN)/python -m pytest tests/system/test_fuzzing.py --timeout 7200 $(ARGS)

.PHONY: explore
explore: $(RUNTIME) $(DEVELOPMENT) ## Explore all interleavings of one order's life (minutes)
	@EXPLORE=everything $(BIN)/python -m pytest tests/unit/model/test_exploration.py --timeout 3600 $(ARGS)

.PHONY: bench
bench: $(RUNTIME) $(BENCH) ## Measure against limits and peers: all, or PART=relay; QUICK=1 only tries
	@PATH="$$PWD/$(BIN):$$PATH" $(BIN)/python -m bench $(addprefix --part ,$(PART)) \
		$(if $(QUICK),--quick,$(if $(PART),,--output bench/RESULTS.md)) $(ARGS)

# Deployment

# The minor version of Python in the base image, the base image, and the program that builds:
# podman, docker or buildah.
IMAGE_PYTHON ?= 3.13
IMAGE_BASE ?= docker.io/library/python:$(IMAGE_PYTHON)-slim
IMAGE_BUILDER ?= $(firstword $(foreach tool,podman docker buildah,$(shell command -v $(tool))))
IMAGE_BUILD_OPTIONS ?=
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE := mock-interview:$(VERSION)
IMAGE_CONTEXT := build/image
IMAGE_CONTENT := eventbus runtime shared_model payment_svc interview_svc notification_svc opsctl \
	clients sandbox_provider gen deploy/nats deploy/postgres LICENSE

.PHONY: image
image: $(IMAGE_CONTEXT)/wheels.stamp $(IMAGE_CONTEXT)/sbom.cdx.json ## Build the container image, and list its packages (SBOM)
	@test -n "$(IMAGE_BUILDER)" || { echo "make: podman, docker or buildah is needed" >&2; exit 1; }
	@rm -rf $(IMAGE_CONTEXT)/app && mkdir -p $(IMAGE_CONTEXT)/app
	@tar --exclude __pycache__ -cf - $(IMAGE_CONTENT) | tar -xf - -C $(IMAGE_CONTEXT)/app
	@cp requirements.txt $(IMAGE_CONTEXT)/
	@$(IMAGE_BUILDER) build $(IMAGE_BUILD_OPTIONS) --file deploy/Containerfile --tag $(IMAGE) \
		--build-arg BASE=$(IMAGE_BASE) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null || echo unknown) $(IMAGE_CONTEXT)
	@$(IMAGE_BUILDER) images $(IMAGE)

.PHONY: compose-secrets
compose-secrets: $(RUNTIME) ## Create the secrets of deploy/compose.yaml, or new tokens
	@$(BIN)/python deploy/create_secrets.py deploy/secrets
	@echo "deploy/secrets: passwords and keys; operator.token and storefront.token are valid for a day"

# Wheels for the image's Python, whatever Python runs this.
$(IMAGE_CONTEXT)/wheels.stamp: requirements.txt Makefile | $(VENV)/.python-stamp
	@echo "downloading the wheels of the image"
	@rm -rf $(IMAGE_CONTEXT)/wheels
	@$(PIP) download --require-hashes --no-deps --only-binary :all: --implementation cp \
		--python-version $(IMAGE_PYTHON) --dest $(IMAGE_CONTEXT)/wheels -r requirements.txt \
		$(foreach glibc,17 28,--platform manylinux_2_$(glibc)_$(shell uname -m)) \
		--platform manylinux2014_$(shell uname -m)
	@touch $@

$(IMAGE_CONTEXT)/sbom.cdx.json: requirements.txt pyproject.toml $(DEVELOPMENT)
	@mkdir -p $(IMAGE_CONTEXT)
	@$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file $@ requirements.txt

# The size and the seed of the sample of mutants.
MUTANTS ?= 60
SEED ?= $(shell date +%s)

.PHONY: mutants
mutants: $(RUNTIME) $(DEVELOPMENT) ## Test the tests by a sample of mutants (MUTANTS=60 SEED=1)
	@$(BIN)/python tests/mutation/sample.py --mutants $(MUTANTS) --seed $(SEED) $(ARGS)

.PHONY: publish-contracts
publish-contracts: gen ## Record the contracts as published; fails on breaking changes
	@$(BIN)/python protos/publish.py

.PHONY: test
test: $(RUNTIME) $(DEVELOPMENT) ## Run all tests
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: test-deploy
test-deploy: $(RUNTIME) $(DEVELOPMENT) ## Run the tests of the deployment: containers, Kubernetes, clusters, upgrades
	@$(BIN)/python -m pytest tests/deploy -rs --timeout 900 $(ARGS)

.PHONY: acceptance
acceptance: $(RUNTIME) $(DEVELOPMENT) ## Run the acceptance tests and print the table of the mission's elements
	@$(BIN)/python -m pytest -p tests.acceptance.acceptance_table tests/acceptance \
		--numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: test-unit
test-unit: $(RUNTIME) $(DEVELOPMENT) ## Run the tests that need no server
	@$(BIN)/python -m pytest tests/unit $(ARGS)

.PHONY: check
check: check-style check-types check-imports check-contracts check-docs check-migrations ## Run all static checks

.PHONY: check-style
check-style: $(DEVELOPMENT)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: check-types
check-types: $(DEVELOPMENT)
	@$(BIN)/mypy

.PHONY: check-imports
check-imports: $(RUNTIME) $(DEVELOPMENT)
	@$(BIN)/lint-imports

.PHONY: check-contracts
check-contracts: $(CONTRACTS)
	@$(BIN)/buf breaking protos --against tests/contract/golden/contracts.binpb
	@$(BIN)/buf lint

.PHONY: check-docs
check-docs: $(RUNTIME)
	@$(BIN)/python docs/generate_settings.py --check
	@$(BIN)/python deploy/helm/write_setting_names.py --check
	@$(BIN)/python docs/check_references.py

.PHONY: check-migrations
check-migrations: $(RUNTIME) $(DEVELOPMENT)
	@$(BIN)/python deploy/postgres/lint_migrations.py

.PHONY: format
format: $(DEVELOPMENT) ## Format the code and fix what ruff can fix
	@$(BIN)/ruff check --fix --exit-zero --quiet .
	@$(BIN)/ruff format .

.PHONY: audit
audit: $(RUNTIME) ## Check the installed packages for known vulnerabilities (needs pip-audit)
	@command -v pip-audit >/dev/null || { \
		echo "make: pip-audit is needed for this: pip install pip-audit" >&2; exit 1; }
	pip-audit --require-hashes --disable-pip -r requirements.txt

.PHONY: requirements
requirements: ## Pin all requirements again, with hashes (needs uv)
	@command -v uv >/dev/null || { echo "make: uv is needed for this: pip install uv" >&2; exit 1; }
	$(UV_COMPILE) --upgrade pyproject.toml -o requirements.txt
	$(UV_COMPILE) --upgrade pyproject.toml --extra devstack -o requirements-devstack.txt
	$(UV_COMPILE) --upgrade pyproject.toml --extra devstack --group dev -o requirements-dev.txt
	$(UV_COMPILE) --upgrade pyproject.toml --extra devstack --group bench -o requirements-bench.txt

# The folder build/protos is written with it.
$(CONTRACTS): $(CONTRACT_SOURCES) $(DEVELOPMENT)
	@$(BIN)/python protos/compile.py --image $@

# Set-up. A stamp is written last, so that an interrupted set-up is repeated.

$(VENV)/.python-stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: Python 3.11 or newer is needed; name one by: make PYTHON=/path/to/python3" >&2; \
		exit 1; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(RUNTIME): requirements-devstack.txt pyproject.toml | $(VENV)/.python-stamp
	@echo "installing the requirements of the stack"
	@$(PIP) install --require-hashes -r requirements-devstack.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
# Makes new packages and the generated ones importable without another installation.
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' | { \
		read -r site; printf '%s\n' "$$PWD" "$$PWD/gen" > "$$site/mock_interview.pth"; }
	@touch $@

$(DEVELOPMENT): requirements-dev.txt | $(VENV)/.python-stamp
	@echo "installing the requirements of development"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

$(BENCH): requirements-bench.txt | $(VENV)/.python-stamp
	@echo "installing the requirements of the benchmarks"
	@$(PIP) install --require-hashes -r requirements-bench.txt
	@command -v ghz >/dev/null || { echo "building ghz, the load generator"; \
		GOBIN="$$PWD/$(BIN)" go install github.com/bojand/ghz/cmd/ghz@v0.120.0; } || { \
		echo "make: ghz is needed for this: install Go, or put ghz on the PATH" >&2; exit 1; }
	@touch $@
