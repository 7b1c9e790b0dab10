// The definitions of the Prometheus operator's kinds, as it ships them. Nothing of it is built.
module penstock.dev/tools/prometheus-operator

go 1.26.6

require github.com/prometheus-operator/prometheus-operator v0.85.0
