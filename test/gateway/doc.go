// Package gateway has the tests that start gateways as processes, often several at once, with what they need around
// them. They take minutes, so that `make verify` runs them and `make test` does not.
package gateway
