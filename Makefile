# Everything that is run often. `make` lists it.

N ?= 5
TXS ?= 100
BLOCKS ?=
BACKEND ?= auto
SEED ?=
IMAGE ?= triskel:dev
BUDGET ?= 10m
CYCLES ?= 100
FUZZ_SECONDS ?= 900
FUZZ_TARGETS = frame message block transaction machine rpc
CARGO_FUZZ ?= cargo +nightly fuzz

# What is run for every change: everything that the simulator can do, within a minute or two.
SCENARIOS = $(wildcard testnet/scenarios/*.toml)
TESTNET = target/release/testnet

# The plugin where there is one, else the program that distributions ship.
COMPOSE ?= $(shell if docker compose version >/dev/null 2>&1; then echo docker compose; else echo docker-compose; fi)

# Docker where an engine answers, a swarm where that is of one, and the cluster that TRISKEL_CONTEXT names, with the image TRISKEL_IMAGE.
NIGHTLY ?= sim process $(shell docker version >/dev/null 2>&1 && echo docker) \
	$(shell [ "$$(docker info --format '{{.Swarm.ControlAvailable}}' 2>/dev/null)" = true ] && echo swarm) \
	$(if $(TRISKEL_CONTEXT),kubernetes)

.DEFAULT_GOAL := help
.PHONY: help testnet up down test cycles sim matrix nightly flakes replay fuzz fuzz-targets bugs bench image lint ci clean

help: ## List what can be made
	@echo 'make TARGET [VARIABLE=value]...'
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s%s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

testnet: ## Start N=5 nodes with TXS=100 transfers and see that they converge; BACKEND=auto|process|docker|swarm|sim, BLOCKS=20, SEED=1
	cargo build --release --workspace
	target/release/testnet run --nodes $(N) --transfers $(TXS) --backend $(BACKEND) $(if $(BLOCKS),--blocks $(BLOCKS)) $(if $(SEED),--seed $(SEED))

up: image ## Start five nodes, Prometheus and Grafana in containers
	$(COMPOSE) up --detach

down: ## Stop them and forget their data
	$(COMPOSE) down --volumes --remove-orphans

test: ## Run all tests
	cargo test --workspace

cycles: ## Start and remove a network CYCLES=100 times and see that nothing is left
	cargo build --workspace --examples
	TRISKEL_CYCLES=$(CYCLES) cargo test --package testnet --test life networks_that_go_up_and_down

sim: ## Run N=5 simulated nodes under virtual time; SEED=1 replays
	$(MAKE) --no-print-directory testnet BACKEND=sim

matrix: ## Run every scenario that the simulator can do, and each regression
	cargo build --release --workspace
	$(TESTNET) matrix $(SCENARIOS) $(wildcard testnet/regressions/*.toml) --able

nightly: ## Run every scenario on every backend that is here: NIGHTLY="sim process docker" names them; on Kubernetes with TRISKEL_CONTEXT set
	cargo build --release --workspace
	@worst=0; for backend in $(NIGHTLY); do \
		echo "--- $$backend"; \
		seeds=; [ $$backend != sim ] || seeds='--seeds 3'; \
		$(TESTNET) matrix $(SCENARIOS) --able --backend $$backend $$seeds || worst=1; \
	done; exit $$worst

flakes: ## Run the simulated scenarios with 20 seeds each, of which none may fail
	cargo build --release --workspace
	$(TESTNET) matrix $(SCENARIOS) --able --seeds 20

replay: ## Run 20 seeds twice: what happens must be the same
	cargo build --release --workspace
	$(TESTNET) matrix testnet/scenarios/partition-and-heal.toml --seeds 20 --repeat 2

fuzz: ## Draw and run scenarios for BUDGET=10m, and keep what fails; SEED=1 tries the same ones
	cargo build --release --workspace
	$(TESTNET) fuzz --budget $(BUDGET) $(if $(SEED),--seed $(SEED))

fuzz-targets: ## Throw bytes at each fuzz target for FUZZ_SECONDS=900 (needs cargo-fuzz and a nightly compiler)
	for target in $(FUZZ_TARGETS); do \
		$(CARGO_FUZZ) run --fuzz-dir tests/fuzz --sanitizer none $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=10 || exit 1; \
	done

bugs: ## Sow bugs into the node, and take its defences away, one after the other, and see that each is noticed
	cargo test --package testnet --features seeded-bugs --test seeded_bugs -- --nocapture
	cargo test --package triskel --features seeded-bugs --test it -- ::proofs::

bench: ## Measure start, propagation, memory, catching up, transfers, throughput, ordering, the protocol and the simulator, as JSON
	cargo bench --bench network --bench throughput --bench ordering --bench protocol --bench simulator

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
