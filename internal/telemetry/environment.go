package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"ais-gateway/internal/telemetry/otelenv"
)

// exporters has the exporter of each signal; nil for a signal that is not exported.
type exporters struct {
	disabled bool // nothing is recorded
	spans    sdktrace.SpanExporter
	reader   sdkmetric.Reader
	logs     sdklog.Exporter
}

// fromEnvironment returns the exporters that the OTEL_* variables configure. Without this check
// autoexport would export to localhost by default. It returns an error that names the variable if
// an exporter cannot be made from its value.
func fromEnvironment(ctx context.Context) (exporters, error) {
	var e exporters
	var err error
	if os.Getenv(otelenv.Disabled) == "true" {
		return exporters{disabled: true}, nil
	}
	if exportEnabled("TRACES") {
		if e.spans, err = autoexport.NewSpanExporter(ctx); err != nil {
			return exporters{}, unusable("TRACES")
		}
	}
	if exportEnabled("METRICS") {
		if e.reader, err = autoexport.NewMetricReader(ctx); err != nil {
			return exporters{}, unusable("METRICS")
		}
	}
	if exportEnabled("LOGS") {
		if e.logs, err = autoexport.NewLogExporter(ctx); err != nil {
			return exporters{}, unusable("LOGS")
		}
	}
	return e, nil
}

// checkEnvironment logs invalid OTEL_* variables, and returns an error that names those with which
// the gateway must not start. If telemetry is disabled, nothing is exported, and no variable
// prevents the start.
func checkEnvironment(log *slog.Logger) error {
	faults := otelenv.Apply()
	disabled := os.Getenv(otelenv.Disabled) == "true"
	var stops []string
	for _, f := range faults {
		if f.Stops && !disabled {
			stops = append(stops, f.Name+" "+f.Detail)
			continue
		}
		log.Warn("invalid telemetry setting", "setting", f.Name, "cause", f.Detail)
	}
	for _, name := range otelenv.Unused() {
		log.Warn("telemetry setting without effect", "setting", name)
	}
	if len(stops) > 0 {
		return errors.New("telemetry: " + strings.Join(stops, "; "))
	}
	return nil
}

// exportEnabled reports whether the environment enables the export of a signal. The signal's
// exporter variable takes precedence over endpoints.
func exportEnabled(signal string) bool {
	switch exporter := os.Getenv("OTEL_" + signal + "_EXPORTER"); exporter {
	case "":
		return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" ||
			os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
	case "none":
		return false
	default:
		// The admin address serves Prometheus metrics already; autoexport would open another port.
		return signal != "METRICS" || exporter != "prometheus"
	}
}

// unusable returns an error for a signal. It does not wrap autoexport's error, which may contain
// file names and endpoints with credentials.
func unusable(signal string) error {
	return errors.New("telemetry: OTEL_" + signal + "_EXPORTER or an OTEL_EXPORTER_OTLP_… variable " +
		"has a value that is not supported")
}
