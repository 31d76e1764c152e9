// Package gateway contains tests that run gateways as processes, often several of them, with
// simulators and Redis. They take minutes, so `make verify` runs them and `make test` does not.
package gateway
