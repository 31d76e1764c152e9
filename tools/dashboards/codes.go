package main

import "strings"

// Whose failures count against the service: see docs/design.md, "What counts". The rules'
// expressions have the same, and a test of package deploy holds that every code of the contract
// stands in one of these lists or in none of its failures.
const (
	// routes are those of the API; nothing else that Prometheus may scrape has such.
	routes = `http_route=~"/v1/(aspsps|aggregations).*"`
	// own failed although callers and banks did what they should. A 500 without a code, and no
	// answer at all, are too.
	own = `error_type=~"INTERNAL_ERROR|OVERLOADED|COUNTER_UNAVAILABLE|DELETION_UNCONFIRMED|PROVIDER_REJECTED|_OTHER|5[0-9]{2}"`
	// meant is every request that the caller had a right to make, and waited for.
	meant = `error_type!~"FORMAT_ERROR|UNAUTHENTICATED|FORBIDDEN|ASPSP_UNKNOWN|NOT_FOUND|METHOD_NOT_ALLOWED|RATE_LIMITED|CANCELED"`
)

// Who said no, by the problem's code: the metric has no label for it. UNATTENDED_LIMIT may be said
// by both; the events of slots tell it apart.
var (
	byRequest = []string{
		"FORMAT_ERROR", "UNAUTHENTICATED", "FORBIDDEN", "ASPSP_UNKNOWN", "NOT_FOUND", "METHOD_NOT_ALLOWED", "RATE_LIMITED", "NOT_CACHED",
		"CANCELED",
	}
	byGateway  = []string{"INTERNAL_ERROR", "COUNTER_UNAVAILABLE", "OVERLOADED", "DELETION_UNCONFIRMED", "AGGREGATION_FAILED", "_OTHER", "[0-9]{3}"}
	byProvider = []string{
		"PROVIDER_THROTTLED", "PROVIDER_REJECTED", "PROVIDER_INVALID_RESPONSE", "PROVIDER_ERROR", "PROVIDER_UNAVAILABLE", "PROVIDER_TIMEOUT",
	}
	byASPSP = []string{"CONSENT_EXPIRED", "CONSENT_INVALID", "ACCOUNT_UNKNOWN"}
)

// failed is the rate of requests that ended with one of the codes; 0 where none ever did.
func failed(codes []string) string {
	return `(sum(rate(http_server_request_duration_seconds_count{` + bank + `,error_type=~"` + strings.Join(codes, "|") +
		`"}[$__rate_interval])) or vector(0))`
}

// slots is the rate of an event of slots; 0 where there never was one.
func slots(event string) string {
	return `(sum(rate(ais_unattended_slots_total{` + bank + `,event="` + event + `"}[$__rate_interval])) or vector(0))`
}
