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

// exporters are where the signals go; a nil one goes nowhere.
type exporters struct {
	disabled bool
	spans    sdktrace.SpanExporter
	reader   sdkmetric.Reader
	logs     sdklog.Exporter
}

// fromEnvironment makes the exporters that the OTEL_* variables ask for, and no other: autoexport by itself
// takes silence for OTLP to localhost.
func fromEnvironment(ctx context.Context) (exporters, error) {
	var e exporters
	var err error
	if os.Getenv(otelenv.Disabled) == "true" {
		return exporters{disabled: true}, nil
	}
	if asked("TRACES") {
		if e.spans, err = autoexport.NewSpanExporter(ctx); err != nil {
			return exporters{}, unusable("TRACES")
		}
	}
	if asked("METRICS") {
		if e.reader, err = autoexport.NewMetricReader(ctx); err != nil {
			return exporters{}, unusable("METRICS")
		}
	}
	if asked("LOGS") {
		if e.logs, err = autoexport.NewLogExporter(ctx); err != nil {
			return exporters{}, unusable("LOGS")
		}
	}
	return e, nil
}

// checkEnvironment logs each OTEL_* variable that cannot be used, or returns an error that names those with which the
// gateway must not start. Where telemetry is disabled only its own variable stops the start: nothing leaves.
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

// asked reports whether the environment asks for a signal to be exported. The signal's own exporter variable
// stands above any endpoint.
func asked(signal string) bool {
	switch exporter := os.Getenv("OTEL_" + signal + "_EXPORTER"); exporter {
	case "":
		return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" ||
			os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
	case "none":
		return false
	default:
		// Prometheus text is served on the admin address already; autoexport would open a port of its own.
		return signal != "METRICS" || exporter != "prometheus"
	}
}

// unusable does not wrap autoexport's error: that may name files and endpoints with credentials in them.
func unusable(signal string) error {
	return errors.New("telemetry: OTEL_" + signal + "_EXPORTER or an OTEL_EXPORTER_OTLP_… variable " +
		"has a value that is not supported")
}
