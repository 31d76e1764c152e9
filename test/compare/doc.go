// Package compare compares the gateway with plain servers on the same machine and in the same
// minutes: CPU time per response, latency, memory, and what Redis does for it. `make compare` runs
// the comparison. `make test` runs only the tests of its arithmetic and of its load.
package compare
