// Package telemetry is what the gateway tells about itself: traces, metrics and log lines. It is the only room
// beside cmd that knows OpenTelemetry, which the standard OTEL_* variables set up. cmd and internal/sandbox
// start it and hand its methods to the rooms that declare an observer; no other room imports it.
//
// What it tells is decided here, attribute by attribute: no path, no query, no address of a caller, no account,
// consent or token has a way out through it. allow.go lists what may be told; filter.go drops the rest.
package telemetry

import (
	"context"
	"errors"
	"io"
	"log" // only to take over what the standard library prints
	"log/slog"
	"net/http"
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

	"ais-gateway/internal/breaker"
)

// scope names this instrumentation in what is exported.
const scope = "ais-gateway/internal/telemetry"

// maxSeries bounds the series of one instrument. Every label has a closed set of values, so that only a very
// long list of ASPSPs comes near; what is beyond is counted under otel.metric.overflow.
const maxSeries = 20_000

// Options say what cannot stand in OTEL_* variables.
type Options struct {
	Version   string         // of the gateway; service.version
	LogOutput io.Writer      // where log lines go, one JSON object each; required
	LogLevel  slog.Level     // below which nothing is logged
	ASPSPs    []string       // the configured ids, in lower case; any other is left out of spans and metrics
	Secrets   []string       // the parts of the configuration whose secrets are renewed; any other is _OTHER
	Bounds    map[string]int // how much may be under way at once: in_flight, client, aspsp
}

// Telemetry is the running telemetry of one gateway. Its methods are safe for concurrent use.
type Telemetry struct {
	log        *slog.Logger
	exported   *slog.Logger
	metrics    http.Handler
	propagator propagation.TextMapPropagator
	tracer     trace.Tracer
	aspsps     map[string]bool
	inst       instruments
	breakers   atomic.Pointer[func() map[string]breaker.State]
	secrets    []string
	stale      atomic.Pointer[func() map[string]bool]
	audit      atomic.Pointer[func() (bool, int64)]
	unlogged   atomic.Pointer[func() int64]
	units      atomic.Pointer[func(context.Context) map[string]map[string]int64]
	ends       atomic.Pointer[func() map[string]time.Time]
	redis      atomic.Pointer[RedisState]
	bounds     map[string]int
	templates  sync.Map // the paths' templates that may be told
	lost       *losses
	closers    []func(context.Context) error

	exportsSpans bool
}

// Start reads the OTEL_* variables and starts what they ask for. Its error names the variables with which the gateway
// must not start, never their values; others that cannot be used are logged and left out. It also takes over the process's OpenTelemetry error handler and logger, its default
// slog.Logger, and what the standard library prints.
func Start(ctx context.Context, o Options) (*Telemetry, error) {
	local := localLog(o)
	f := newFaults(slog.New(local))
	otel.SetErrorHandler(f)
	otel.SetLogger(f.logger())
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
	log.SetOutput(hushed{t.log}) // which SetDefault has given the logger, text and all
	return t, nil
}

// Shutdown sends what is waiting and stops, for as long as ctx allows. Its error says only that something was
// lost; why has been logged.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for _, c := range t.closers {
		errs = append(errs, c(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		// Its text may hold an endpoint with credentials, or what a collector answered.
		otel.Handle(err)
		return errors.New("telemetry: not everything could be exported before the end")
	}
	return nil
}

// Logger is the gateway's log: JSON lines with the trace_id and span_id of the context that is logged with,
// and the same as log records where OTEL_* asks for logs.
func (t *Telemetry) Logger() *slog.Logger { return t.log }

// Exported is the part of the log that OTEL_* has sent elsewhere, for lines that are written in another way: it writes none.
func (t *Telemetry) Exported() *slog.Logger { return t.exported }

// MetricsHandler answers with all metrics in the Prometheus text format, or as OpenMetrics with exemplars where
// the scraper asks for that. It is served whatever OTEL_* says, on the admin address only.
func (t *Telemetry) MetricsHandler() http.Handler { return t.metrics }

func build(ctx context.Context, o Options, exp exporters, local allowed) (*Telemetry, error) {
	res, err := describe(ctx, o.Version)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	t := &Telemetry{
		log:        slog.New(local),
		exported:   slog.New(slog.DiscardHandler),
		lost:       local.lost,
		metrics:    promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}),
		propagator: autoprop.NewTextMapPropagator(),
		aspsps:     make(map[string]bool, len(o.ASPSPs)),
		secrets:    o.Secrets,
		bounds:     o.Bounds,

		exportsSpans: exp.spans != nil,
	}
	for _, id := range o.ASPSPs {
		t.aspsps[id] = true
	}
	if exp.disabled {
		t.tracer = nooptrace.NewTracerProvider().Tracer(scope)
		return t, t.instruments(noopmetric.NewMeterProvider().Meter(scope))
	}
	version := trace.WithInstrumentationVersion(o.Version)
	t.tracer = t.traces(exp.spans, res).Tracer(scope, version, trace.WithSchemaURL(semconv.SchemaURL))
	if exp.logs != nil {
		sent := t.bridge(o, exp.logs, res)
		t.log = slog.New(allowed{next: slog.NewMultiHandler(local.next, sent), lost: local.lost})
		t.exported = slog.New(allowed{next: sent, lost: local.lost})
	}
	meters, err := t.meters(registry, exp.reader, res)
	if err != nil {
		return nil, err
	}
	return t, t.instruments(meters.Meter(scope, metric.WithInstrumentationVersion(o.Version),
		metric.WithSchemaURL(semconv.SchemaURL)))
}

// describe is the resource: what all gateways of one service share, and what the operator adds.
func describe(ctx context.Context, version string) (*resource.Resource, error) {
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

// traces makes spans. Without an exporter they still give log lines and exemplars their ids.
func (t *Telemetry) traces(exp sdktrace.SpanExporter, res *resource.Resource) *sdktrace.TracerProvider {
	opts := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
	if exp != nil {
		opts = append(opts, sdktrace.WithBatcher(sifted{exp, t}))
	}
	p := sdktrace.NewTracerProvider(opts...)
	t.closers = append(t.closers, p.Shutdown)
	return p
}

// meters makes metrics that the registry serves, and that reader exports where there is one.
func (t *Telemetry) meters(registry prometheus.Registerer, reader sdkmetric.Reader, res *resource.Resource,
) (*sdkmetric.MeterProvider, error) {
	scraped, err := promexporter.New(promexporter.WithRegisterer(registry), promexporter.WithoutScopeInfo())
	if err != nil {
		return nil, err
	}
	opts := []sdkmetric.Option{
		sdkmetric.WithResource(res), sdkmetric.WithReader(scraped), sdkmetric.WithCardinalityLimit(maxSeries),
		sdkmetric.WithView(labelled),
	}
	if reader != nil {
		opts = append(opts, sdkmetric.WithReader(reader))
	}
	p := sdkmetric.NewMeterProvider(opts...)
	t.closers = append(t.closers, p.Shutdown)
	return p, runtime.Start(runtime.WithMeterProvider(p))
}

// bridge hands log lines to a logs exporter.
func (t *Telemetry) bridge(o Options, exp sdklog.Exporter, res *resource.Resource) slog.Handler {
	p := sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewBatchProcessor(exp)))
	t.closers = append(t.closers, p.Shutdown)
	return bridge(o, p)
}
