package config

import "ais-gateway/internal/config/strict"

// Fault is one error in the configuration.
type Fault = strict.Fault

// Faults are all errors in the configuration, in the order of the file.
type Faults = strict.Faults
