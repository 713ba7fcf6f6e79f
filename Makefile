# `make help` lists the targets. Everything is quick when its work is done already.
SHELL := /bin/bash
PYTHON := .venv/bin/python
BOOTSTRAP := $(PYTHON) -m slipway.router.bootstrap --ads-host ADS_HOST
CACHE := $(or $(SLIPWAY_CACHE),$(HOME)/.cache/slipway)
# bare: this Debian machine is the node. kind: needs Docker, kind, kubectl and helm; e2e/kind down removes it.
CLUSTER ?= bare
CLUSTER_NAME ?= slipway
export CLUSTER CLUSTER_NAME
export PATH := $(CACHE)/uv/bin:$(PATH)
ifeq ($(CLUSTER),kind)
OWN := $(CACHE)/kind/kubeconfig
export ROUTER ?= 127.0.0.1
else
OWN := $(CACHE)/clusters/$(CLUSTER_NAME)/kubeconfig
endif
# A demo or a test never goes to the cluster that the shell happens to point at; an install does.
demo test: export KUBECONFIG := $(OWN)
install: export KUBECONFIG := $(or $(KUBECONFIG),$(OWN))

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit check generate cluster-up cluster-down clean-cluster images install bench

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo:  ## from a bare machine to a model in canary traffic, and watch it happen
	@python3 e2e/setup.py
	@$(PYTHON) e2e/demo.py

test:  ## every test there is, unit to end to end
	@python3 e2e/setup.py
	@$(MAKE) --no-print-directory check
	@$(PYTHON) e2e/all_tests.py

test-unit: .venv  ## the quick tests: no cluster, no API server, nothing that takes its time
	@$(PYTHON) -m pytest tests -m "not slow" --numprocesses=2

check: .venv  ## lint, types, import contracts, generated files up to date
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@$(PYTHON) -m slipway.crdgen --check
	@$(BOOTSTRAP) | diff charts/slipway/files/router.json - || { echo "run make generate"; exit 1; }

generate: .venv  ## CRDs, the chart's copy of them and of Envoy's bootstrap, docs/reasons.md
	@$(PYTHON) -m slipway.crdgen
	@$(BOOTSTRAP) > charts/slipway/files/router.json

cluster-up:  ## the bare machine's cluster, with Slipway's images
	@python3 e2e/setup.py --until load

cluster-down:  ## stop it; its state is kept for the next start
	@e2e/cluster/slipway-cluster down

clean-cluster:  ## stop it and remove all of its state
	@e2e/cluster/slipway-cluster down --purge

images:  ## build the container images
	@images/build

install:  ## install the chart on the cluster of KUBECONFIG
	@e2e/install

bench: .venv  ## every benchmark, side by side with its peer
	@for file in bench/*.py; do echo "== $$file"; $(PYTHON) $$file || exit 1; done

.venv: uv.lock
	@e2e/python-environment && touch .venv
