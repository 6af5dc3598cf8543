# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The commands of the README. Each prepares what it needs (hack/venv) and leaves its traces in build/ and in the user's cache.
# ARGS reaches ansible-playbook or pytest:  make demo ARGS='-e llm_gateway_model=mine'   make unit ARGS='-k tier'

DEMO := hack/venv demo
TEST := hack/venv test
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo down test lint unit sanity integration platform cluster kind versions audit bench bench-keys bench-gateway bench-accuracy bench-budget bench-close bench-focus bench-mixed bench-split bench-doctor bench-drills bench-hostile bench-limiter build docs

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Start the gateway and run the three demos; it keeps running
	@export ANSIBLE_STDOUT_CALLBACK=$${ANSIBLE_STDOUT_CALLBACK:-kuadrant.llm.story}; \
	$(DEMO) ansible-playbook site.yml playbooks/demo_authorization.yml playbooks/demo_rate_limiting.yml playbooks/demo_chargeback.yml playbooks/check_gateway.yml $(ARGS)

down: ## Stop the gateway and remove its state; caches stay
	@$(DEMO) ansible-playbook playbooks/teardown.yml $(ARGS)

test: ## Everything that CI runs
	@LLM_TEST_LANES="stack roles site checks" $(TEST) hack/integration

lint: ## Linters and type checkers
	@$(TEST) hack/lint

unit: ## Tests without a stack: the Limitador's own, and tests/unit with the collection's rules
	@hack/cargo test
	@$(TEST) pytest tests/unit $(ARGS)

sanity: ## ansible-test sanity, documentation and package checks, on a copy
	@$(TEST) hack/sanity

integration: ## Start a stack and a cluster of its own; scenarios of the roles, integration and end-to-end tests on them; remove them
	@$(TEST) hack/integration $(ARGS)

platform: ## All else about other platforms: the playbook site, all defaults flipped, upgrades, llm-d, kind, failures; the jobs of AWX, the rulebooks
	@LLM_TEST_LANES="platform jobs" $(TEST) hack/integration $(ARGS)

cluster: ## The playbook site on a real node: kubelet, containerd and pods of images that are built here; takes root
	@LLM_TEST_LANES=node $(TEST) hack/integration $(ARGS)

kind: ## The playbook site on a cluster of kind whose node and images are made here, without an image registry; takes Docker, Podman or root
	@LLM_TEST_LANES=kind $(TEST) hack/integration $(ARGS)

versions: ## The collection's archive, its unit tests, sanity and lint with each Ansible that the README names
	@LLM_TEST_LANES=versions $(TEST) hack/integration $(ARGS)

audit: ## Look up what is known to be wrong with pinned versions, in the data bases that can be reached
	@$(TEST) hack/audit $(ARGS)

bench: ## Measure build, start, idempotence and memory; writes build/bench/stack.json
	@$(DEMO) python tests/bench/stack.py $(ARGS)

bench-keys: ## Measure ten thousand keys, revocations and rotations; writes build/bench/keys.json
	@$(DEMO) python tests/bench/keys.py $(ARGS)

bench-gateway: ## Measure what policies cost a request; writes build/bench/gateway.json
	@$(DEMO) python tests/bench/gateway.py $(ARGS)

bench-accuracy: ## Measure how right bills are, on ten thousand histories with a known truth; writes build/bench/accuracy.json
	@PYTHONPATH=build/collections $(DEMO) python tests/bench/accuracy.py $(ARGS)

bench-budget: ## Measure how far users get past a budget, moved by a playbook and limited by the limiter; writes build/bench/budget.json
	@$(DEMO) python tests/bench/budget.py $(ARGS)

bench-close: ## Measure closing a day of ten thousand users; writes build/bench/close.json
	@$(DEMO) python tests/bench/close.py $(ARGS)

bench-doctor: ## Measure what gateway_doctor finds, and how fast; writes build/bench/doctor.json
	@PYTHONPATH=build/collections $(DEMO) python tests/bench/doctor.py $(ARGS)

bench-drills: ## Hold the fault drills and kill runs in mid-write; writes build/bench/drills.json. ARGS='--kills 100' kills more
	@PYTHONPATH=build/collections $(TEST) python tests/bench/drills.py $(ARGS)

bench-focus: ## Hold a FOCUS export of 100,000 rows against the rules of the specification; writes build/bench/focus.json
	@PYTHONPATH=build/collections $(TEST) python tests/bench/focus.py $(ARGS)

bench-hostile: ## Send 50,000 hostile requests and judge each answer; writes build/bench/hostile.json. ARGS='--requests 1000 --seed 5' sends others
	@$(DEMO) python tests/bench/hostile.py $(ARGS)

bench-limiter: ## Measure how long the limiter is away after kill -9; writes build/bench/limiter.json
	@PYTHONPATH=build/collections:tests/integration $(TEST) python tests/bench/limiter.py $(ARGS)

bench-mixed: ## Close the books over five thousand requests of all formats while the limiter is killed; writes build/bench/mixed.json
	@PYTHONPATH=build/collections:tests/integration $(TEST) python tests/bench/mixed.py $(ARGS)

bench-split: ## Make the bills of 200 teams with 10,000 users; writes build/bench/split.json
	@PYTHONPATH=build/collections $(TEST) python tests/bench/split.py $(ARGS)

docs: ## Make the documentation's site in build/site/html and look at it in Chromium. ARGS=--external asks for all addresses of others, too
	@$(TEST) hack/docs --look $(ARGS)

build: ## Build the collection's archive into build/
	@$(DEMO) ansible-galaxy collection build --force --output-path build
