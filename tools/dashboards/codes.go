package main

import "strings"

// Matchers for the requests that count for the availability of the service: see docs/design.md,
// "What counts". The expressions of the rules contain the same, and TestCodesCount in package
// deploy checks every code of the contract.
const (
	// routes matches the routes of the API, which no other target of Prometheus has.
	routes = `http_route=~"/v1/(aspsps|aggregations).*"`
	// own matches the failures of the gateway itself, for which no caller and no bank is
	// responsible. They include a 500 without a code and a missing response.
	own = `error_type=~"INTERNAL_ERROR|OVERLOADED|COUNTER_UNAVAILABLE|DELETION_UNCONFIRMED|PROVIDER_REJECTED|_OTHER|5[0-9]{2}"`
	// meant matches all requests except wrong or forbidden ones and those that the caller canceled.
	meant = `error_type!~"FORMAT_ERROR|UNAUTHENTICATED|FORBIDDEN|ASPSP_UNKNOWN|NOT_FOUND|METHOD_NOT_ALLOWED|RATE_LIMITED|CANCELED"`
)

// Codes by the origin of the problem, for which the metric has no label: each is in one list.
// UNATTENDED_LIMIT is missing because both the gateway and the bank return it; the events of slots
// distinguish them. TestOrigins in package deploy checks every code of the contract.
var (
	byRequest = []string{
		"FORMAT_ERROR", "PSU_ADDRESS_REQUIRED", "UNAUTHENTICATED", "FORBIDDEN", "ASPSP_UNKNOWN", "NOT_FOUND", "METHOD_NOT_ALLOWED",
		"RATE_LIMITED", "NOT_CACHED", "CANCELED",
	}
	byGateway  = []string{"INTERNAL_ERROR", "COUNTER_UNAVAILABLE", "OVERLOADED", "DELETION_UNCONFIRMED", "NOT_IN_TIME", "AGGREGATION_FAILED", "_OTHER", "[0-9]{3}"}
	byProvider = []string{
		"PROVIDER_THROTTLED", "PROVIDER_REJECTED", "PROVIDER_INVALID_RESPONSE", "PROVIDER_ERROR", "PROVIDER_UNAVAILABLE", "PROVIDER_TIMEOUT",
	}
	byASPSP = []string{"CONSENT_EXPIRED", "CONSENT_INVALID", "ACCOUNT_UNKNOWN"}
)

// failed returns the expression for the rate of requests that ended with one of the codes, or 0 if
// there are no such requests.
func failed(codes []string) string {
	return `(sum(rate(http_server_request_duration_seconds_count{` + bank + `,error_type=~"` + strings.Join(codes, "|") +
		`"}[$__rate_interval])) or vector(0))`
}

// slots returns the expression for the rate of an event of slots, or 0 if there are no such events.
func slots(event string) string {
	return `(sum(rate(ais_unattended_slots_total{` + bank + `,event="` + event + `"}[$__rate_interval])) or vector(0))`
}
