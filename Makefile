# What people do here; .ci/run calls the same verbs.
.PHONY: demo test check tools live gitops laws mutants bench quality truth story bench-capacity bench-page crds api chart boards image image-test

# The whole thing on a laptop, with no cluster.
demo:
	cargo run --release -- demo

# Both tiers of tests, in process and against real servers. More at once than there are cores: most of their time they wait for sockets. One live
# test plays the real controller of the HPA against a clock, and three at once leave it the time.
test: tools
	cargo test --locked --no-run
	failed=0; \
	RUST_TEST_THREADS=6 cargo test --locked --no-fail-fast --lib --bins --test house || failed=1; \
	RUST_TEST_THREADS=3 cargo test --locked --no-fail-fast --test live || failed=1; \
	cargo test --locked --doc || failed=1; \
	exit $$failed

# Format, lints and docs, warnings as errors.
check:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo check --locked --test gitops
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# The real servers of the live tests, built once into target/tools: about ten minutes the first time.
tools:
	tests/live/tools/build

# Penstock against real Kubernetes and Kafka.
live: tools
	cargo test --locked --test live

# Penstock beside the real controllers of Argo CD and Flux, which take twenty minutes of one core to build: not part of `make test`.
gitops:
	tests/live/tools/build etcd debian kubernetes-1.36 kwok flux argocd
	cargo test --locked --test gitops

# The laws of decide on a million cases, optimised.
laws:
	tests/alone/laws

# Does a test notice when decide is changed in one place? All 4,200 places take days of one core; `make mutants OF='-f */demand.rs'` a part.
mutants:
	tests/alone/mutants $(OF)

# What deciding takes, how soon the right count is asked for, and what watching 500 pipelines costs; `make bench PEER=keda` beside
# KEDA in the same run. Exits 1 when a target is missed.
bench: tools
	$(if $(PEER),tests/live/tools/build $(PEER))
	cargo bench --locked --bench decide
	cargo bench --locked --bench loop -- $(if $(PEER),--peer $(PEER))

# How well it decides: cost and lateness on real and made-up load, beside the bound and the tuned peers. Exits 1 when a must is missed.
quality:
	cargo bench --locked --bench quality

# Is the simulator true? One scenario of 20 minutes on real Kafka and Kubernetes, and simulated. Exits 1 when they differ too much.
truth: tools
	cargo bench --locked --bench truth

# One pipeline sized four ways over many simulated days with faults. Exits 1 when Penstock's promise is missed.
story:
	cargo bench --locked --bench story

# A stage on nodes that come, are refused and are taken away: lanes beside other ways to split, and the bound; then interruptions and all else that can
# be had of it on real servers, eight minutes. Exits 1 when a target is missed.
bench-capacity: tools
	cargo bench --locked --bench capacity

# The page with a thousand pipelines in a real browser, as the release daemon serves it. Exits 1 when a target is missed.
bench-page: tools
	cargo bench --locked --bench page

# The definitions kept in deploy/crds and in the chart, from src/crd.
crds:
	cargo run --quiet -- crds --dir deploy/crds
	cargo run --quiet -- crds --dir charts/penstock/definitions

# Every field of every kind, from src/crd: docs/api.md, and the tables of the pages in docs/sources.
api:
	PENSTOCK_REFRESH=1 cargo test --quiet --locked --test house -- crd::schema::the_reference

# What is written from the chart: its README, and what deploy has of it.
chart: crds
	tests/live/tools/build helm
	target/tools/helm/helm-docs -c charts -l error
	deploy/render

# The Grafana boards in the chart and docs/metrics.md, from the table of metrics; and docs/reasons.md, from every code that is said.
boards:
	PENSTOCK_REFRESH=1 cargo test --quiet --locked --test house -- boards::the

# The container image, without a container engine: an OCI layout in target/image, and its SBOM. A release build of its own, about ten minutes.
image:
	deploy/image/build

# Is it what it should be? Looks at its configuration and size, and runs it in a chroot.
image-test: image
	deploy/image/test
