package telemetry

import (
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"ais-gateway/internal/telemetry/aggregations"
)

// This file is the allow list: attributes with any other key are dropped. docs/telemetry.md lists
// the same keys; a test compares both.

// logKeys lists the keys of log lines, except time, level, msg, trace_id, span_id and dropped.
var logKeys = map[string]string{
	"address":          "the address of the API, host:port",
	"admin_address":    "the admin address, host:port",
	"aspsp_id":         "a configured ASPSP's id",
	"attended":         "whether the user was actively requesting",
	"cache":            "result of the cache",
	"cause":            "why the gateway failed: a word of a closed list, the name of a type or a constant text",
	"client":           "the client's name in the configuration or its token, as in auth.Client",
	"closed_until":     "unattended.closedUntil of the configuration, a time",
	"code":             "of a problem",
	"duration_ms":      "duration of a request",
	"faults":           "of the configuration or of secret files: keys of the file, and constant texts",
	"identified_by":    "how a client was identified: api_key, azp, client_id or sub",
	"issuer":           "the path of an issuer in the configuration",
	"lost":             "number of lost log lines or audit records",
	"maxmemory_policy": "Redis's setting",
	"method":           "of the request, or OTHER",
	"outcome":          "of a source of an aggregation: a word of a closed list",
	"panic":            "the error of the runtime, or that there was another",
	"part":             "secrets that are reloaded together",
	"provider":         "a provider's name in the configuration",
	"request_id":       "a UUID: the caller's or a new one",
	"route":            "a path template",
	"setting":          "an OTEL_* variable that is not used, or the step of OpenTelemetry that failed",
	"silenced":         "how often the line was suppressed",
	"slots":            "slots that a request has taken",
	"stack":            "the stack of a panic",
	"state":            "of Redis",
	"status":           "of the response",
	"version":          "of the gateway",
	"warnings":         "constant texts about Redis or the configuration",
}

// spanKeys lists the attributes of spans.
var spanKeys = map[attribute.Key]string{
	semconv.HTTPRequestMethodKey:      "one of the known methods",
	semconv.HTTPRouteKey:              "a template of the API",
	semconv.URLTemplateKey:            "a template of an adapter",
	semconv.HTTPResponseStatusCodeKey: "of the response",
	semconv.HTTPRequestResendCountKey: "how often the call was sent before",
	semconv.ErrorTypeKey:              "the problem's code, the error kind or a status",
	semconv.ServerAddressKey:          "the host of the provider's base URL",
	semconv.ServerPortKey:             "its port",
	aspspKey:                          "a configured ASPSP's id",
	providerKey:                       "a provider's name in the configuration",
	attendedKey:                       "whether the user was actively requesting",
	cacheKey:                          "result of the cache",
	aggregations.OutcomeKey:           "of a source of an aggregation",
}

// labelKeys lists the attributes of metrics.
var labelKeys = map[attribute.Key]string{
	semconv.HTTPRequestMethodKey:      "one of the known methods",
	semconv.HTTPRouteKey:              "a template of the API",
	semconv.URLTemplateKey:            "a template of an adapter",
	semconv.HTTPResponseStatusCodeKey: "of the response",
	semconv.ErrorTypeKey:              "the problem's code, the error kind or a status",
	semconv.ServerAddressKey:          "the host of the provider's base URL",
	semconv.ServerPortKey:             "its port",
	aspspKey:                          "a configured ASPSP's id",
	providerKey:                       "a provider's name in the configuration",
	attendedKey:                       "whether the user was actively requesting",
	resultKey:                         "result of the cache",
	eventKey:                          "event of a slot",
	stateKey:                          "of a circuit breaker, of units, or of Redis",
	partKey:                           "secrets that are reloaded together",
	outcomeKey:                        "result of the reload, or of a source of an aggregation",
	reasonKey:                         "the limit that refused a request",
	slotKey:                           "whether a read took slots",
	semconv.DBSystemNameKey:           "redis",
	semconv.DBOperationNameKey:        "one of the commands that the gateway sends",
	signalKey:                         "log or span",
	"go.memory.type":                  "of the Go runtime",
}
