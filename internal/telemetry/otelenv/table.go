package otelenv

import "maps"

// variable describes the check of one OTEL_* variable.
type variable struct {
	// check returns the value in the spelling that OpenTelemetry's libraries read, and whether the
	// value is valid. For an invalid value it returns the valid part or "".
	check func(name, value string) (string, bool)
	must  string // what a value must be
	// stops prevents the start. It is set for variables that decide whether data is exported, how
	// much, where to, under which name and with which protection, because their default could be
	// the opposite of what the operator wants.
	stops bool
}

// table has a row for every variable that OpenTelemetry's libraries read in the gateway.
// docs/telemetry.md lists the same variables; a test compares both.
var table = merged(
	map[string]variable{
		Disabled:                       {boolean, "must be true or false", true},
		"OTEL_SERVICE_NAME":            {text, "must be UTF-8 without control characters", true},
		"OTEL_RESOURCE_ATTRIBUTES":     {attributes, "must be key=value, with commas between, values percent-encoded", true},
		"OTEL_TRACES_EXPORTER":         {oneOf("otlp", "console", "none"), "must be otlp, console or none", true},
		"OTEL_METRICS_EXPORTER":        {oneOf("otlp", "console", "none", "prometheus"), "must be otlp, console, prometheus or none", true},
		"OTEL_LOGS_EXPORTER":           {oneOf("otlp", "console", "none"), "must be otlp, console or none", true},
		"OTEL_METRICS_PRODUCERS":       {oneOf("prometheus", "none"), "must be prometheus or none", true},
		"OTEL_TRACES_SAMPLER":          {oneOf(samplers...), "must be always_on, always_off, traceidratio or parentbased_ and one of these", true},
		"OTEL_TRACES_SAMPLER_ARG":      {ratio, "must be a number from 0 to 1", true},
		"OTEL_PROPAGATORS":             {listOf(propagators...), "must be a list of tracecontext, baggage, b3, b3multi, jaeger, xray, ottrace or none", false},
		"OTEL_METRICS_EXEMPLAR_FILTER": {oneOf("always_on", "always_off", "trace_based"), "must be always_on, always_off or trace_based", false},
		"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": {
			oneOf("cumulative", "delta", "lowmemory"), "must be cumulative, delta or lowmemory", false,
		},
		"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": {
			oneOf("explicit_bucket_histogram", "base2_exponential_bucket_histogram"),
			"must be explicit_bucket_histogram or base2_exponential_bucket_histogram", false,
		},
	},
	perSignal("ENDPOINT", variable{endpoint, "must be an http or https URL of a host, without user, query or fragment", true}),
	perSignal("PROTOCOL", variable{oneOf("grpc", "http/protobuf"), "must be grpc or http/protobuf", true}),
	perSignal("INSECURE", variable{boolean, "must be true or false", true}),
	perSignal("HEADERS", variable{headers, "must be name=value, with commas between, values percent-encoded", true}),
	perSignal("CERTIFICATE", variable{certificates, "must be a file of PEM certificates", true}),
	perSignal("CLIENT_CERTIFICATE", variable{clientCertificate, "must be a PEM file that fits the key in CLIENT_KEY", true}),
	perSignal("CLIENT_KEY", variable{clientKey, "must be given with CLIENT_CERTIFICATE", true}),
	perSignal("COMPRESSION", variable{oneOf("gzip", "none"), "must be gzip or none", false}),
	perSignal("TIMEOUT", variable{number(0, maxMillis), mustMillis, false}),
	each(variable{number(1, maxMillis), mustMillis, false},
		"OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_BLRP_EXPORT_TIMEOUT",
		"OTEL_METRIC_EXPORT_INTERVAL", "OTEL_METRIC_EXPORT_TIMEOUT"),
	each(variable{number(1, maxQueue), "must be a whole number from 1 to 1000000", false},
		"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BLRP_MAX_QUEUE_SIZE", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE"),
	each(variable{number(-1, maxLimit), "must be a whole number, or -1 for no limit", false},
		"OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
		"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT",
		"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
		"OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
)

// mustMillis is the Detail of an invalid duration.
const mustMillis = "must be a whole number of milliseconds, without a unit"

const (
	maxMillis = 9_000_000_000_000 // more overflows time.Duration
	maxQueue  = 1_000_000         // the libraries allocate a queue of this size at the start
	maxLimit  = 1<<31 - 1         // the libraries read an int
)

// samplers are the values of OTEL_TRACES_SAMPLER.
var samplers = []string{
	"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
}

// propagators are the possible parts of OTEL_PROPAGATORS.
var propagators = []string{"tracecontext", "baggage", "b3", "b3multi", "jaeger", "xray", "ottrace", "none"}

// perSignal returns the rows of an OTEL_EXPORTER_OTLP_ variable: for all signals, and for each
// signal.
func perSignal(suffix string, v variable) map[string]variable {
	const prefix = "OTEL_EXPORTER_OTLP_"
	return each(v, prefix+suffix, prefix+"TRACES_"+suffix, prefix+"METRICS_"+suffix, prefix+"LOGS_"+suffix)
}

// each returns a row for each name.
func each(v variable, names ...string) map[string]variable {
	rows := make(map[string]variable, len(names))
	for _, name := range names {
		rows[name] = v
	}
	return rows
}

// merged returns the rows of all parts.
func merged(parts ...map[string]variable) map[string]variable {
	all := map[string]variable{}
	for _, part := range parts {
		maps.Copy(all, part)
	}
	return all
}
