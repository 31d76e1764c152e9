package main

import (
	"ais-gateway/internal/adapters"
	"ais-gateway/internal/providers/berlingroup"
	"ais-gateway/internal/providers/mastercard"
	"ais-gateway/internal/providers/mypos"
	"ais-gateway/internal/providers/obie"
)

// table has all providers. To add a provider, add a folder below internal/providers and a line
// here. The name is the provider's key in the configuration.
var table = adapters.Table{
	"berlingroup": {Open: berlingroup.Open, OwnBaseURLs: true},
	"mastercard":  {Open: mastercard.Open},
	"mypos":       {Open: mypos.Open, OneASPSP: true},
	"obie":        {Open: obie.Open, OwnBaseURLs: true},
}
