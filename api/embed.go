// Package api holds the gateway's contract, openapi.yaml, for internal/api to serve and for tests
// to hold every answer against.
package api

import _ "embed"

// Contract is the text of openapi.yaml: OpenAPI 3.1, kept by hand.
//
//go:embed openapi.yaml
var Contract []byte
