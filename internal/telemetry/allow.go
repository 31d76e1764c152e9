package telemetry

import (
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// What may be told is listed here, and nothing else gets out: an attribute whose key is not here is dropped. Each key
// stands in docs/telemetry.md too, and a test compares the two.

// logKeys are all that a log line may say beside time, level, msg, trace_id, span_id and dropped.
var logKeys = map[string]string{
	"address":          "where callers are listened to, host:port",
	"admin_address":    "where the platform is listened to, host:port",
	"aspsp_id":         "a configured ASPSP's id",
	"attended":         "whether the user was asking",
	"cache":            "what came of the cache",
	"cause":            "why something of ours failed: a word of a closed list, a type's name or a sentence of ours",
	"client":           "the caller's name in the configuration or its token, as callers.Client has it",
	"closed_until":     "unattended.closedUntil of the configuration, a time",
	"code":             "of the problem",
	"duration_ms":      "how long a request took",
	"faults":           "of the configuration or of secrets' files: keys of the file, and sentences of ours",
	"identified_by":    "how a client was identified: api_key, azp, client_id or sub",
	"issuer":           "the place of an issuer in the configuration",
	"lost":             "how many log lines or audit records were lost",
	"maxmemory_policy": "Redis's setting",
	"method":           "of the request, or OTHER",
	"panic":            "the runtime's own error, or that there was another",
	"part":             "secrets that are renewed together",
	"provider":         "a provider's name in the configuration",
	"request_id":       "a UUID, the caller's or ours",
	"route":            "a path's template",
	"setting":          "an OTEL_* variable that is not used, or the step of OpenTelemetry that failed",
	"silenced":         "how often the same was not logged",
	"slots":            "how many unattended calls a request took",
	"stack":            "where a panic was",
	"state":            "of Redis",
	"status":           "of the answer",
	"version":          "of the gateway",
	"warnings":         "our own sentences about Redis or the configuration",
}

// spanKeys are all attributes that a span may have.
var spanKeys = map[attribute.Key]string{
	semconv.HTTPRequestMethodKey:      "one of the known methods",
	semconv.HTTPRouteKey:              "a template of ours",
	semconv.URLTemplateKey:            "a template of an adapter's",
	semconv.HTTPResponseStatusCodeKey: "of the answer",
	semconv.HTTPRequestResendCountKey: "how often the same was sent before",
	semconv.ErrorTypeKey:              "the problem's code, or a status",
	semconv.ServerAddressKey:          "the host of the provider's base URL",
	semconv.ServerPortKey:             "its port",
	aspspKey:                          "a configured ASPSP's id",
	providerKey:                       "a provider's name in the configuration",
	attendedKey:                       "whether the user was asking",
	cacheKey:                          "what came of the cache",
}

// labelKeys are all attributes that a metric may have.
var labelKeys = map[attribute.Key]string{
	semconv.HTTPRequestMethodKey:      "one of the known methods",
	semconv.HTTPRouteKey:              "a template of ours",
	semconv.URLTemplateKey:            "a template of an adapter's",
	semconv.HTTPResponseStatusCodeKey: "of the answer",
	semconv.ErrorTypeKey:              "the problem's code, or a status",
	semconv.ServerAddressKey:          "the host of the provider's base URL",
	semconv.ServerPortKey:             "its port",
	aspspKey:                          "a configured ASPSP's id",
	providerKey:                       "a provider's name in the configuration",
	attendedKey:                       "whether the user was asking",
	resultKey:                         "what came of the cache",
	eventKey:                          "what became of a slot",
	stateKey:                          "of a circuit breaker, of units of counting, or of Redis",
	partKey:                           "secrets that are renewed together",
	outcomeKey:                        "what came of renewing them",
	reasonKey:                         "which bound refused a request",
	slotKey:                           "whether a read took slots",
	semconv.DBSystemNameKey:           "redis",
	semconv.DBOperationNameKey:        "one of the commands that the gateway sends",
	signalKey:                         "what was to be told",
	"go.memory.type":                  "of the Go runtime",
}
