# What people type. Everything is built with one profile and one set of flags
# (.cargo/config.toml), so that nothing is compiled twice.

CARGO_TARGET_DIR ?= target
TRIPLE := x86_64-unknown-linux-gnu
BIN := $(CARGO_TARGET_DIR)/$(TRIPLE)/release
# In continuous integration one failure doesn't hide the others.
NEXTEST_PROFILE := $(if $(CI),ci,default)

.DEFAULT_GOAL := help
.PHONY: help bootstrap chart-tools build demo test lint fmt pages crds doc bench bench-parts bench-operator processes e2e kills sim breaks images cluster-up cluster-down clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

bootstrap: ## install what a build needs and is missing here
	@scripts/bootstrap

chart-tools: ## install what the tests of the chart need and is missing here: helm, schemas
	@scripts/chart-tools

# The tests are built in the same call: with another selection of targets cargo would
# choose other features for some dependencies, and build them again.
build: bootstrap ## build every binary and every test
	cargo build --workspace --release --lib --bins --tests

demo: build ## ten nodes here: store files, kill a pair, read all back
	$(BIN)/defs-demo

test: build chart-tools ## run all tests
	cargo nextest run --workspace --release --profile $(NEXTEST_PROFILE)

lint: ## formatting, clippy, and cargo-deny if it is installed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --release -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check; \
	else echo "cargo-deny is not installed: licences and advisories were not checked"; fi

fmt: ## format all Rust code
	cargo fmt --all

pages: ## write the documentation's pages that are made from the code
	cargo run --release --package defs-tidy --bin write-pages
	cargo run --release --package defs-chart-tests --bin write-values-table

crds: pages ## write the CRDs of the chart, and their reference

doc: pages ## those, and the crates' own documentation
	cargo doc --workspace --release --no-deps

# BENCH takes options: make bench BENCH="--quick --markdown table.md"
bench: build ## measure the parts, and the whole on ten nodes: one table
	$(BIN)/defs-bench $(BENCH)

# Criterion's: finer, of single functions. Cargo's own bench profile would build all again.
bench-parts: build ## measure single functions of codec, store and swarm
	cargo bench --workspace --profile release

processes: build ## run only the tests that start real processes
	cargo nextest run --workspace --release -E "package(defs-e2e)" --profile $(NEXTEST_PROFILE)

# E2E takes options and parts of names: make e2e E2E="--keep machines::"
e2e: build ## run the cases on a real Kubernetes on this machine; needs root
	e2e/run $(E2E)

bench-operator: build ## what the operator needs at rest, with NODES=100 real nodes; needs root
	e2e/measure-operator $(or $(NODES),100)

kills: build ## kill runs of real nodes under load; RUNS=200 says how many, SEED=1 which
	DEFS_KILL_RUNS=$(or $(RUNS),200) DEFS_KILL_SEED=$(or $(SEED),1) cargo nextest run --workspace --release -E 'binary(kills)' --profile kills --no-capture

# SEED=7 replays one; SEEDS=10000 runs many, FROM=0 the first of them. What is done is in
# RESULTS, so that a campaign which was broken off goes on.
RESULTS ?= $(CARGO_TARGET_DIR)/sim.csv
FROM ?= 0
sim: ## simulated clusters: SEED=7 shows one, SEEDS=10000 runs many
	cargo build --workspace --release --bin defs-sim
ifdef SEED
	$(BIN)/defs-sim replay --seed $(SEED) --brief
else
	$(BIN)/defs-sim run --seeds $(or $(SEEDS),300) --from $(FROM) --jobs 2 --results $(RESULTS)
endif

# BREAKS names some: make breaks BREAKS=doubles-stay
breaks: ## break the code by hand in every way of sim/breaks, and show what notices it: an hour
	sim/breaks/run $(BREAKS)

# IMAGES takes options: make images IMAGES="--tag 0.2.0 --revision $$(git rev-parse HEAD)"
images: build ## container images, in out/images; no container engine needed
	$(BIN)/defs-images --binaries $(BIN) $(IMAGES)

cluster-up: ## a real Kubernetes on this machine, for tests; needs root. NODES=3 says how many
	e2e/local-cluster/cluster up $(NODES)

cluster-down: ## stop it and remove all that it left
	e2e/local-cluster/cluster down

clean: ## remove what was built
	cargo clean
