// Package e2e has the tests that start the gateway as a process, one or two at a time, and check
// what its operators and callers see. They take seconds: `make test` runs them.
package e2e
