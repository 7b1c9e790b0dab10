# What people do here; .ci/run calls the same verbs.
.PHONY: tools live crds

# The real servers of the live tests, built once into target/tools: about ten minutes the first time.
tools:
	tests/live/tools/build

# Penstock against real Kubernetes and Kafka.
live: tools
	cargo test --test live

# The definitions kept in deploy/crds, from src/crd.
crds:
	cargo run --quiet -- crds --dir deploy/crds
