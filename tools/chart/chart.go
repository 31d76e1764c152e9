// Package chart tests deploy/helm/ais-gateway with Helm, the API types of Kubernetes and of the
// Prometheus operator, kube-score, the gateway's own configuration check, and a real Redis. It
// contains only tests, which `make chart` runs. It is a separate module so that the Kubernetes
// types do not become a dependency of the gateway.
package chart
