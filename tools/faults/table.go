package main

import "slices"

// table is every fault that is planted, by room. To add one: the text that stands in the file exactly once, what takes
// its place so that it still compiles, and the packages whose tests must see it.
var table = slices.Concat(
	canonicalFaults, configFaults, adaptersFaults, wireFaults, counterFaults, cacheFaults, gatewayFaults, callersFaults,
	storeFaults, telemetryFaults, programFaults,
)
