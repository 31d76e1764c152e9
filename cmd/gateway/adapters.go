package main

import (
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/mastercard"
	"ais-gateway/internal/providers/mypos"
)

// adapters is the one table of providers: a new one is a folder below internal/providers and a line here. The
// name is the provider's key in the configuration.
var adapters = map[string]providers.Open{
	"mastercard": mastercard.Open,
	"mypos":      mypos.Open,
}
