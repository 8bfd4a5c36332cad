# Everything sets itself up: some Python 3 with venv or pip, and make, are all that is needed.
SHELL := /bin/sh
RUN := .venv/bin/

.PHONY: demo test check unit integration e2e chaos chaos-local bench scale bootstrap deploy clean help

help: ## This list
	@awk -F ':.*## ' '/^[a-z].*:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

bootstrap: ## Install the locked environments (the other targets do it by themselves)
	@scripts/bootstrap

demo: bootstrap ## Bring the local cloud up, deploy, upload real input, show the proven results
	@$(RUN)python scripts/demo.py

test: check unit integration e2e ## Every check and every suite

check: bootstrap ## Format, lint, types, import rules, template, contract, generated files
	@scripts/check

unit: bootstrap ## Pure tests; sockets are blocked
	@$(RUN)pytest tests/unit tests/simulator -q -n 2 --dist worksteal

integration: bootstrap ## Gateways against moto
	@$(RUN)pytest tests/integration -q -n 2 --dist worksteal

e2e: bootstrap ## The template on the local cloud
	@$(RUN)pytest tests/e2e -q -n 2

chaos: bootstrap ## Random histories in the simulator: SECONDS=600 or HISTORIES=2000, SEED=7 to see the same ones again
	@$(RUN)python scripts/chaos.py

chaos-local: bootstrap ## The same with real processes on a local cloud: kills, S3 faults, stops (SECONDS=300 SEED=7)
	@$(RUN)python -m tests.e2e.faults.campaign $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

bench: bootstrap ## The comparisons with other tools, and docs/performance.md of them (some 20 minutes; nginx is needed)
	@$(RUN)python -m benchmarks

scale: bootstrap ## Jobs of 50 TB and of a million ranges, objects, retries; docs/limits.md of them (some 15 minutes)
	@$(RUN)python -m benchmarks.scale

deploy: bootstrap ## Check the pipelines, build, and deploy to the account of your credentials (sam asks first)
	@$(RUN)rangemill check
	@PATH="$$PWD/tools/sam/.venv/bin:$$PATH" sam build
	@$(RUN)python -m rangemill_cli.bytecode
	@PATH="$$PWD/tools/sam/.venv/bin:$$PATH" sam deploy --guided

clean: ## Stop the local cloud and remove what was built (environments stay)
	-@$(RUN)rangemill local down
	@rm -rf .aws-sam .rangemill .benchmarks
