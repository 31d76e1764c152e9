package main

import (
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/mastercard"
	"ais-gateway/internal/providers/mypos"
)

// An adapterEntry is what the gateway knows of a provider before its configuration is read.
type adapterEntry struct {
	open providers.Open
	// oneASPSP means that the provider is one bank, which counts unattended calls in one place: the configuration
	// may have one aspsps entry of it.
	oneASPSP bool
}

// adapters is the one table of providers: a new one is a folder below internal/providers and a line here. The
// name is the provider's key in the configuration.
var adapters = map[string]adapterEntry{
	"mastercard": {open: mastercard.Open},
	"mypos":      {open: mypos.Open, oneASPSP: true},
}

// oneASPSP reports whether a provider is one bank.
func oneASPSP(provider string) bool { return adapters[provider].oneASPSP }
