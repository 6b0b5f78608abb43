# Everything that is run often. `make` lists it.

N ?= 5
TXS ?= 100
BLOCKS ?=
BACKEND ?= auto
SEED ?=
IMAGE ?= triskel:dev

# The plugin where there is one, else the program that distributions ship.
COMPOSE ?= $(shell if docker compose version >/dev/null 2>&1; then echo docker compose; else echo docker-compose; fi)

.DEFAULT_GOAL := help
.PHONY: help testnet up down test sim bench image lint ci clean

help: ## List what can be made
	@echo 'make TARGET [VARIABLE=value]...'
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s%s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

testnet: ## Start N=5 nodes with TXS=100 transfers and see that they converge; BACKEND=auto|process|docker|sim, BLOCKS=20, SEED=1
	cargo build --release --workspace
	target/release/testnet run --nodes $(N) --transfers $(TXS) --backend $(BACKEND) $(if $(BLOCKS),--blocks $(BLOCKS)) $(if $(SEED),--seed $(SEED))

up: image ## Start five nodes, Prometheus and Grafana in containers
	$(COMPOSE) up --detach

down: ## Stop them and forget their data
	$(COMPOSE) down --volumes --remove-orphans

test: ## Run all tests
	cargo test --workspace

sim: ## Run N=5 simulated nodes under virtual time; SEED=1 replays
	$(MAKE) --no-print-directory testnet BACKEND=sim

bench: ## Measure start, propagation, memory, throughput, ordering and the simulator, as JSON
	cargo bench --bench network --bench throughput --bench ordering --bench simulator

image: ## Build the container image
	docker build --file docker/Dockerfile --tag $(IMAGE) .

lint: ## Check formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

ci: ## Do everything that must pass before a change is merged
	bash .ci/run

clean: ## Remove what was built and what runs have left
	cargo clean
	rm -rf runs
