package telemetry

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/dbconv"
	"go.opentelemetry.io/otel/semconv/v1.43.0/httpconv"

	"ais-gateway/internal/breaker"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/event"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/telemetry/aggregations"
)

// The gateway's own attributes.
const (
	aspspKey    = attribute.Key("ais.aspsp.id")
	providerKey = attribute.Key("ais.provider")
	attendedKey = attribute.Key("ais.attended")
	cacheKey    = attribute.Key("ais.cache")
	resultKey   = attribute.Key("result")
	eventKey    = attribute.Key("event")
	stateKey    = attribute.Key("state")
	partKey     = attribute.Key("part")
	outcomeKey  = attribute.Key("outcome")
	reasonKey   = attribute.Key("reason")
	slotKey     = attribute.Key("slot")
	signalKey   = attribute.Key("signal")
)

// other replaces a value that is in no list, so that no text of a caller becomes a label.
const other = "_OTHER"

// Values of labels.
var (
	cacheResults = []string{"hit", "miss", "stale", "collapsed", "bypass", "error", "unreadable"}
	slotEvents   = []string{"taken", "refused", "given_back", "closed", "unavailable"}
	slotUses     = []string{"taken", "none", "refused"}
	limits       = []string{"in_flight", "client", "aspsp", "files"}
	refusals     = append([]string{"audit"}, limits...)
	reloads      = []string{"ok", "failed"}
	// commands are those that the gateway sends to Redis; commandErrors are the kinds of their
	// errors.
	commands = []string{
		"CLUSTER", "DEL", "EVAL", "EVALSHA", "GET", "HELLO", "INFO", "PING", "PIPELINE", "SET", "ZADD", "ZRANGEBYSCORE", "ZREM",
	}
	commandErrors = []string{
		"canceled", "cluster_down", "loading", "moved", "noauth", "noperm", "noreplicas", "noscript", "oom", "other", "readonly", "timeout", "unreachable",
	}
)

// Upper bounds of histogram buckets in seconds. Alerts and dashboards use 0.25 of
// ais.gateway.duration. Commands to Redis take some tenths of a millisecond, up to their timeout of
// a second.
var (
	ownBuckets     = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}
	commandBuckets = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1}
)

// instruments has the instruments to which the methods of Telemetry record values.
type instruments struct {
	serverDuration  metric.Float64Histogram
	ownDuration     metric.Float64Histogram
	serverActive    metric.Int64UpDownCounter
	clientDuration  metric.Float64Histogram
	commandDuration metric.Float64Histogram
	cache           metric.Int64Counter
	slots           metric.Int64Counter
	transitions     metric.Int64Counter
	reloads         metric.Int64Counter
	refusals        metric.Int64Counter
	reads           metric.Int64Counter
}

// instruments creates all instruments except those of the Observe methods. Instruments for HTTP and
// Redis are those of the semantic conventions v1.43.0. It returns the error of an instrument that
// cannot be created.
func (t *Telemetry) instruments() error {
	server, err := httpconv.NewServerRequestDuration(t.meter)
	if err != nil {
		return err
	}
	active, err := httpconv.NewServerActiveRequests(t.meter)
	if err != nil {
		return err
	}
	client, err := httpconv.NewClientRequestDuration(t.meter)
	if err != nil {
		return err
	}
	command, err := dbconv.NewClientOperationDuration(t.meter, metric.WithExplicitBucketBoundaries(commandBuckets...))
	if err != nil {
		return err
	}
	own, err := t.meter.Float64Histogram("ais.gateway.duration", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(ownBuckets...),
		metric.WithDescription("Duration of requests without the time in which they waited for a provider."))
	if err != nil {
		return err
	}
	t.inst = instruments{
		serverDuration: server.Inst(), ownDuration: own, serverActive: active.Inst(), clientDuration: client.Inst(), commandDuration: command.Inst(),
	}
	for _, c := range []struct {
		counter                 *metric.Int64Counter
		name, unit, description string
	}{
		{&t.inst.cache, "ais.cache.results", "{request}", "Requests for account lists, by how the cache was used."},
		{&t.inst.slots, "ais.unattended.slots", "{call}", "Slots for unattended calls, by event."},
		{&t.inst.reads, "ais.unattended.reads", "{request}", "Unattended reads that succeeded, by whether slots were taken for them, or that were refused."},
		{&t.inst.reloads, "ais.secrets.reloads", "{reload}", "Secrets whose files have changed, by whether they could be used."},
		{&t.inst.transitions, "ais.breaker.transitions", "{transition}", "Changes of circuit breakers, by the new state."},
		{&t.inst.refusals, "ais.overload.refusals", "{request}", "Requests and calls that exceeded a concurrency limit, by the limit."},
	} {
		if *c.counter, err = t.meter.Int64Counter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.description)); err != nil {
			return err
		}
	}
	t.gauges()
	t.initCounters()
	t.aggregations, err = aggregations.New(aggregations.Config{
		Tracer: t.tracer, Meter: t.meter, HasChildren: t.hasChildren, Attrs: t.sourceAttrs, Init: t.initPerASPSP, Add: t.count,
	})
	return err
}

// Aggregations returns the observer of the sources of aggregations.
func (t *Telemetry) Aggregations() *aggregations.Observer { return t.aggregations }

// initCounters sets all counters whose labels come from closed lists to 0, so that Prometheus sees
// the first event as an increase.
func (t *Telemetry) initCounters() {
	ctx := context.Background()
	t.initPerASPSP(t.inst.cache, resultKey, cacheResults)
	t.initPerASPSP(t.inst.slots, eventKey, slotEvents)
	t.initPerASPSP(t.inst.reads, slotKey, slotUses)
	t.initPerASPSP(t.inst.transitions, stateKey, breakerStates)
	t.initPerASPSP(t.inst.refusals, reasonKey, limits)
	for _, limit := range []string{"in_flight", "client", "files", "audit"} { // of requests without an ASPSP
		t.inst.refusals.Add(ctx, 0, metric.WithAttributes(reasonKey.String(limit)))
	}
	for _, part := range t.secrets {
		for _, outcome := range reloads {
			t.inst.reloads.Add(ctx, 0, metric.WithAttributes(partKey.String(part), outcomeKey.String(outcome)))
		}
	}
}

// initPerASPSP sets a counter to 0 for each configured ASPSP and each value of a label. It leaves out
// a counter for which this would use more than half of maxSeries.
func (t *Telemetry) initPerASPSP(c metric.Int64Counter, key attribute.Key, values []string) {
	if len(t.aspsps)*len(values) > maxSeries/2 {
		return
	}
	for id := range t.aspsps {
		for _, v := range values {
			c.Add(context.Background(), 0, metric.WithAttributes(aspspKey.String(id), key.String(v)))
		}
	}
}

// Slot counts an event of an ASPSP's unattended limit.
func (t *Telemetry) Slot(ctx context.Context, aspsp string, e upstream.SlotEvent) {
	t.count(ctx, t.inst.slots, 1, aspsp, eventKey.String(oneOf(slotEvents, string(e))))
}

// Breaker counts a change of an ASPSP's circuit breaker to state.
func (t *Telemetry) Breaker(aspsp string, state breaker.State) {
	t.count(context.Background(), t.inst.transitions, 1, aspsp, stateKey.String(oneOf(breakerStates, string(state))))
}

// Refused counts a request or call that a limit refused. aspsp is "" for a request that was refused
// before its ASPSP was known.
func (t *Telemetry) Refused(ctx context.Context, aspsp string, by bulkhead.Refusal) {
	t.count(ctx, t.inst.refusals, 1, aspsp, reasonKey.String(oneOf(refusals, string(by))))
}

// OutOfFiles counts and logs that a call to an ASPSP, or with aspsp "" the connection of a caller,
// got no file descriptor. It counts all of them, and logs at most one line in filesInterval.
func (t *Telemetry) OutOfFiles(ctx context.Context, aspsp string) {
	t.Refused(ctx, aspsp, bulkhead.Files)
	if suppressed, ok := t.outOfFiles.Allow(1); ok {
		t.log.ErrorContext(ctx, "too many open files", "silenced", suppressed)
	}
}

// Reload counts a reload of one part's secrets. ok is false if the new files have faults and the
// previous secrets stay in use.
func (t *Telemetry) Reload(ctx context.Context, part string, ok bool) {
	outcome := "failed"
	if ok {
		outcome = "ok"
	}
	t.inst.reloads.Add(ctx, 1, metric.WithAttributes(partKey.String(oneOf(t.secrets, part)), outcomeKey.String(outcome)))
}

// Command records one command to Redis, or a pipeline (PIPELINE): its name, the kind of its error
// or "", and its duration with all retries.
func (t *Telemetry) Command(ctx context.Context, name, errorKind string, took time.Duration) {
	key := commandLabels{name: oneOf(commands, name)}
	if errorKind != "" {
		key.err = oneOf(commandErrors, errorKind)
	}
	l := t.commandLabels.get(key, func() []attribute.KeyValue {
		return append(optional(semconv.ErrorTypeKey, key.err), semconv.DBSystemNameRedis, semconv.DBOperationName(key.name))
	})
	t.inst.commandDuration.Record(ctx, took.Seconds(), l.record...)
}

// commandLabels is what the labels of a command to Redis are made of.
type commandLabels struct{ name, err string }

// countCache counts a request for an account list by how the cache was used.
func (t *Telemetry) countCache(ctx context.Context, r event.Request) {
	if r.Cache != "" {
		t.count(ctx, t.inst.cache, 1, r.ASPSP, resultKey.String(r.Cache))
	}
}

// countRead counts a successful unattended read: slot is taken if it took slots, refused if a slot
// was refused and a stale list was returned, and none otherwise.
func (t *Telemetry) countRead(ctx context.Context, r event.Request) {
	if !r.UnattendedRead() {
		return
	}
	use := "none"
	switch {
	case r.Slots > 0:
		use = "taken"
	case r.StaleByLimit:
		use = "refused"
	}
	t.count(ctx, t.inst.reads, 1, r.ASPSP, slotKey.String(use))
}

// count adds n to a counter with a label, and with the id of a configured ASPSP.
func (t *Telemetry) count(ctx context.Context, c metric.Int64Counter, n int, aspsp string, label attribute.KeyValue) {
	if !t.aspsps[aspsp] {
		aspsp = ""
	}
	l := t.countLabels.get(countLabels{aspsp, label.Key, label.Value.AsString()}, func() []attribute.KeyValue {
		return append(t.aspsp(aspsp), label)
	})
	c.Add(ctx, int64(n), l.add...)
}

// countLabels is what the labels of a counter are made of.
type countLabels struct {
	aspsp string
	key   attribute.Key
	value string
}

// aspsp returns the attribute of a configured ASPSP, and no attribute for any other id.
func (t *Telemetry) aspsp(id string) []attribute.KeyValue {
	if !t.aspsps[id] {
		return nil
	}
	return []attribute.KeyValue{aspspKey.String(id)}
}

// oneOf returns s if known has it, and other if not.
func oneOf(known []string, s string) string {
	if slices.Contains(known, s) {
		return s
	}
	return other
}
