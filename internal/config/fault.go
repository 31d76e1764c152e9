package config

import "ais-gateway/internal/config/strict"

// A Fault is one thing that is wrong with the configuration.
type Fault = strict.Fault

// Faults are all the things that are wrong, in the order of the file.
type Faults = strict.Faults
