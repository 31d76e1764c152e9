// Package telemetry records traces, metrics and log lines with OpenTelemetry, which the standard
// OTEL_* variables configure. Telemetry implements the Observer interfaces of the other packages;
// only cmd imports it.
//
// Only attributes on the allow list in allow.go are recorded; filter.go and package logs drop all
// others. So no path, query, address, account, consent or token gets into telemetry.
package telemetry

import (
	"context"
	"errors"
	"io"
	"log" // only to replace what the standard library prints
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"ais-gateway/internal/output"
	"ais-gateway/internal/store"
	"ais-gateway/internal/telemetry/aggregations"
	"ais-gateway/internal/telemetry/logs"
)

// scope is the instrumentation scope of all exported data.
const scope = "ais-gateway/internal/telemetry"

// maxSeries is the maximum number of series of one instrument. Labels have closed sets of values,
// so only a very long list of ASPSPs reaches it; further series are counted under
// otel.metric.overflow.
const maxSeries = 20_000

// filesInterval is the minimum time between two log lines about a lack of file descriptors.
const filesInterval = 10 * time.Second

// Options has the settings that are not OTEL_* variables.
type Options struct {
	Version   string         // of the gateway; service.version
	LogOutput io.Writer      // for log lines, one JSON object each; required
	LogLevel  slog.Level     // the minimum level
	ASPSPs    []string       // the configured ids in lower case; spans and metrics have no other
	Secrets   []string       // the parts of the configuration whose secrets are reloaded; any other is _OTHER
	Limits    map[string]int // the concurrency limits: in_flight, client, aspsp
}

// Telemetry is the running telemetry of one gateway. Its methods are safe for concurrent use.
type Telemetry struct {
	log          *slog.Logger
	exported     *slog.Logger
	metrics      http.Handler
	propagator   propagation.TextMapPropagator
	tracer       trace.Tracer
	meter        metric.Meter
	aspsps       map[string]bool
	inst         instruments
	aggregations *aggregations.Observer
	secrets      []string
	redis        atomic.Pointer[store.Health]
	outOfFiles   output.Throttle
	limits       map[string]int
	templates    sync.Map     // the allowed path templates
	local        logs.Handler // of the lines that are written
	droppedSpans atomic.Int64 // attributes and other parts of spans
	closers      []func(context.Context) error

	exportsSpans bool
	idsOnly      bool     // requests have an idSpan
	traceHeaders []string // with which a caller's trace arrives, as net/http stores their names

	activeLabels  labelCache[string]        // by method
	routeLabels   labelCache[string]        // by route
	requestLabels labelCache[requestLabels] // of callers' requests
	callLabels    labelCache[callLabels]    // of calls to providers
	countLabels   labelCache[countLabels]   // of counters
	commandLabels labelCache[commandLabels] // of commands to Redis
}

// SilenceStandardLog discards what the standard library logs until Start replaces it by a line
// without its text: net/http quotes there unexpected data of providers, including accounts and
// names.
func SilenceStandardLog() { log.SetOutput(io.Discard) }

// Start starts telemetry as the OTEL_* variables configure it. It returns an error that names the
// invalid variables with which the gateway must not start, without their values; other invalid
// variables are logged and ignored. Start also sets the process's OpenTelemetry error handler and
// logger, its default slog.Logger, and the output of package log.
func Start(ctx context.Context, o Options) (*Telemetry, error) {
	local := localLog(o)
	h := newErrorHandler(slog.New(local))
	otel.SetErrorHandler(h)
	otel.SetLogger(h.logger())
	if err := checkEnvironment(slog.New(local)); err != nil {
		return nil, err
	}
	exp, err := fromEnvironment(ctx)
	if err != nil {
		return nil, err
	}
	t, err := build(ctx, o, exp, local)
	if err != nil {
		return nil, err
	}
	slog.SetDefault(t.log)
	log.SetOutput(suppressedOutput{t.log}) // SetDefault has directed it to the logger, with its text
	return t, nil
}

// Shutdown exports the waiting data and stops telemetry, until ctx is done. Its error means that
// data was lost; the cause has been logged.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for _, c := range t.closers {
		errs = append(errs, c(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		// The text is not returned: it may contain an endpoint with credentials, or a collector's
		// response.
		otel.Handle(err)
		return errors.New("telemetry: not everything could be exported before the end")
	}
	return nil
}

// Logger returns the gateway's logger. It writes JSON lines with the trace_id and span_id of the
// context, and exports them as log records if OTEL_* configures that.
func (t *Telemetry) Logger() *slog.Logger { return t.log }

// Exported returns a logger that only exports log records, for lines that are written elsewhere.
func (t *Telemetry) Exported() *slog.Logger { return t.exported }

// MetricsHandler returns the handler of /metrics. It serves the Prometheus text format, or
// OpenMetrics with exemplars if the request accepts that. It is independent of OTEL_*, except that
// it has only process metrics if telemetry is disabled.
func (t *Telemetry) MetricsHandler() http.Handler { return t.metrics }

// build makes the providers of all signals, and the instruments. Disabled telemetry records
// nothing, and /metrics then has only process metrics.
func build(ctx context.Context, o Options, exp exporters, local logs.Handler) (*Telemetry, error) {
	res, err := newResource(ctx, o.Version)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	t := &Telemetry{
		log:        slog.New(local),
		exported:   slog.New(slog.DiscardHandler),
		local:      local,
		metrics:    promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}),
		propagator: autoprop.NewTextMapPropagator(),
		aspsps:     make(map[string]bool, len(o.ASPSPs)),
		secrets:    o.Secrets,
		limits:     o.Limits,
		outOfFiles: output.Throttle{Every: filesInterval, Now: time.Now},

		exportsSpans: exp.spans != nil,
		idsOnly:      exp.spans == nil && !exp.disabled && os.Getenv("OTEL_TRACES_SAMPLER") == "",
	}
	for _, name := range t.propagator.Fields() {
		t.traceHeaders = append(t.traceHeaders, http.CanonicalHeaderKey(name))
	}
	for _, id := range o.ASPSPs {
		t.aspsps[id] = true
	}
	if exp.disabled {
		t.tracer = nooptrace.NewTracerProvider().Tracer(scope)
		t.meter = noopmetric.NewMeterProvider().Meter(scope)
		return t, t.instruments()
	}
	version := trace.WithInstrumentationVersion(o.Version)
	t.tracer = t.traces(exp.spans, res).Tracer(scope, version, trace.WithSchemaURL(semconv.SchemaURL))
	if exp.logs != nil {
		sent := t.bridge(o, exp.logs, res)
		t.log = slog.New(local.And(sent))
		t.exported = slog.New(local.Instead(sent))
	}
	meters, err := t.meters(registry, exp.reader, res)
	if err != nil {
		return nil, err
	}
	t.meter = meters.Meter(scope, metric.WithInstrumentationVersion(o.Version), metric.WithSchemaURL(semconv.SchemaURL))
	return t, t.instruments()
}

// newResource returns the resource: the attributes of the service, and those that the operator
// adds. It returns an error if OTEL_RESOURCE_ATTRIBUTES is invalid.
func newResource(ctx context.Context, version string) (*resource.Resource, error) {
	res, err := resource.New(ctx,
		resource.WithSchemaURL(semconv.SchemaURL),
		resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName("ais-gateway"), semconv.ServiceVersion(version)),
		resource.WithFromEnv())
	if err != nil {
		return nil, errors.New("telemetry: OTEL_RESOURCE_ATTRIBUTES must be a list of key=value")
	}
	return res, nil
}

// traces returns the provider of spans. Without an exporter, spans still provide the ids of log
// lines and exemplars.
func (t *Telemetry) traces(exp sdktrace.SpanExporter, res *resource.Resource) *sdktrace.TracerProvider {
	opts := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
	if exp != nil {
		opts = append(opts, sdktrace.WithBatcher(filteringExporter{exp, t}))
	}
	p := sdktrace.NewTracerProvider(opts...)
	t.closers = append(t.closers, p.Shutdown)
	return p
}

// meters returns the provider of metrics, which registry serves and reader (if not nil) exports.
func (t *Telemetry) meters(registry prometheus.Registerer, reader sdkmetric.Reader, res *resource.Resource,
) (*sdkmetric.MeterProvider, error) {
	scraped, err := promexporter.New(promexporter.WithRegisterer(registry), promexporter.WithoutScopeInfo())
	if err != nil {
		return nil, err
	}
	opts := []sdkmetric.Option{
		sdkmetric.WithResource(res), sdkmetric.WithReader(scraped), sdkmetric.WithCardinalityLimit(maxSeries),
		sdkmetric.WithView(allowLabels),
	}
	if reader != nil {
		opts = append(opts, sdkmetric.WithReader(reader))
	}
	p := sdkmetric.NewMeterProvider(opts...)
	t.closers = append(t.closers, p.Shutdown)
	return p, runtime.Start(runtime.WithMeterProvider(p))
}

// bridge returns a handler that exports log lines with exp.
func (t *Telemetry) bridge(o Options, exp sdklog.Exporter, res *resource.Resource) slog.Handler {
	p := sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewBatchProcessor(exp)))
	t.closers = append(t.closers, p.Shutdown)
	return bridge(o, p)
}
