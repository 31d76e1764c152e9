// Package chart holds deploy/helm/ais-gateway against what judges it: Helm itself, the types of
// Kubernetes and of Prometheus's operator, kube-score, the gateway's own reading of its
// configuration, and a real Redis. It is tests alone, which `make chart` runs, in a module of its
// own: Kubernetes's types are no dependency of the gateway.
package chart
