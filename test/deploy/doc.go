// Package deploy has the tests of the files in deploy that need a real Prometheus, a collector or a
// fleet of gateways. `make verify` runs them; `make test` does not.
package deploy
