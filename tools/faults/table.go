package main

import "slices"

// table is every fault that is planted, by room. To add one: the text that stands in the file exactly once, what takes
// its place so that it still compiles, and the packages whose tests must see it.
var table = slices.Concat(
	canonicalFaults, configFaults, adaptersFaults, wireFaults, counterFaults, cacheFaults, gatewayFaults, callersFaults,
	storeFaults, telemetryFaults, programFaults,
)

// sample names the faults that `make verify` plants: one for each of the guards that matter most.
var sample = []string{
	"counter-off-by-one",            // the limit
	"counter-window-does-not-roll",  // the window
	"wire-unattended-not-counted",   // counted before it is sent
	"wire-given-back-after-sending", // what was sent stays counted
	"wire-never-given-back",         // what was not sent is given back
	"counter-fails-open",            // no call without a count
	"cache-other-clients-list",      // clients are apart
	"cache-nonce-reused",            // lists are encrypted
	"canary-key-in-log",             // no secrets in logs
	"callers-signature-unverified",  // who may call
}
