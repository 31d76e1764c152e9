package telemetry

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/semconv/v1.43.0/httpconv"

	"ais-gateway/internal/breaker"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/event"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/upstream"
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
)

// other stands for a value that is in no list, so that no text of a caller becomes a label.
const other = "_OTHER"

// What the gateway's own labels may say. The place of a breaker's state is its number in ais.breaker.state.
var (
	cacheResults  = []string{"hit", "miss", "stale", "collapsed", "bypass", "error", "unreadable"}
	slotEvents    = []string{"taken", "refused", "given_back", "closed", "unavailable"}
	breakerStates = []string{"closed", "half_open", "open"}
	bounds        = []string{"in_flight", "client", "aspsp", "files"}
	refusals      = append([]string{"audit"}, bounds...)
)

// ownBuckets are the upper bounds of ais.gateway.duration, in seconds. Alerts and boards use 0.25.
var ownBuckets = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}

type instruments struct {
	serverDuration  metric.Float64Histogram
	ownDuration     metric.Float64Histogram
	serverActive    metric.Int64UpDownCounter
	clientDuration  metric.Float64Histogram
	cache           metric.Int64Counter
	slots           metric.Int64Counter
	transitions     metric.Int64Counter
	renewals        metric.Int64Counter
	refusals        metric.Int64Counter
	reads           metric.Int64Counter
	commandDuration metric.Float64Histogram
}

// instruments makes all of them. The HTTP ones come from semantic conventions v1.43.0 with their buckets.
func (t *Telemetry) instruments(m metric.Meter) error {
	server, err := httpconv.NewServerRequestDuration(m)
	if err != nil {
		return err
	}
	active, err := httpconv.NewServerActiveRequests(m)
	if err != nil {
		return err
	}
	client, err := httpconv.NewClientRequestDuration(m)
	if err != nil {
		return err
	}
	own, err := m.Float64Histogram("ais.gateway.duration", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(ownBuckets...),
		metric.WithDescription("Duration of requests without the time in which they waited for a provider."))
	if err != nil {
		return err
	}
	t.inst = instruments{serverDuration: server.Inst(), ownDuration: own, serverActive: active.Inst(), clientDuration: client.Inst()}
	for _, c := range []struct {
		into                    *metric.Int64Counter
		name, unit, description string
	}{
		{&t.inst.cache, "ais.cache.results", "{request}", "Account lists asked of the cache, by what came of it."},
		{&t.inst.slots, "ais.unattended.slots", "{call}", "Slots for unattended calls, by what happened to them."},
		{&t.inst.reads, "ais.unattended.reads", "{request}", "Unattended reads that were answered with success, by whether slots were taken for them, or refused."},
		{&t.inst.renewals, "ais.secrets.reloads", "{reload}", "Secrets whose files have changed, by whether they could be used."},
		{&t.inst.transitions, "ais.breaker.transitions", "{transition}", "Changes of circuit breakers, by the new state."},
		{&t.inst.refusals, "ais.overload.refusals", "{request}", "Requests and calls that were refused because too much was under way, by the bound."},
	} {
		if *c.into, err = m.Int64Counter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.description)); err != nil {
			return err
		}
	}
	if err := t.observeSecrets(m); err != nil {
		return err
	}
	_, err = m.Int64ObservableGauge("ais.breaker.state", metric.WithUnit("{state}"),
		metric.WithDescription("State of the circuit breaker: 0 closed, 1 half open, 2 open."),
		metric.WithInt64Callback(t.observeBreakers))
	if err != nil {
		return err
	}
	if err := errors.Join(t.commands(m), t.fleet(m), t.privacy(m)); err != nil {
		return err
	}
	t.zero()
	return nil
}

// Cache counts one account list asked of the cache; result is hit, miss, stale, collapsed, bypass or error.
func (t *Telemetry) Cache(ctx context.Context, aspsp string, result gateway.CacheResult) {
	t.count(ctx, t.inst.cache, aspsp, resultKey.String(oneOf(cacheResults, string(result))))
}

// Slot counts one event of an ASPSP's unattended limit: taken, refused, given_back, closed or unavailable.
func (t *Telemetry) Slot(ctx context.Context, aspsp string, e upstream.SlotEvent) {
	t.count(ctx, t.inst.slots, aspsp, eventKey.String(oneOf(slotEvents, string(e))))
	switch e {
	case upstream.SlotTaken:
		event.AddSlots(ctx, 1)
	case upstream.SlotReleased:
		event.AddSlots(ctx, -1)
	case upstream.SlotRefused, upstream.SlotBlocked, upstream.SlotUnavailable:
	}
}

// Waited adds d to the time that the request of ctx has waited for a provider.
func (t *Telemetry) Waited(ctx context.Context, d time.Duration) { event.AddWait(ctx, d) }

// Breaker counts a change of an ASPSP's circuit breaker to state: closed, half_open or open.
func (t *Telemetry) Breaker(aspsp string, state breaker.State) {
	t.count(context.Background(), t.inst.transitions, aspsp, stateKey.String(oneOf(breakerStates, string(state))))
}

// Refused counts a request or call for which a bound had no place left: in_flight, client, aspsp, files, or audit, where its
// audit record had no room.
func (t *Telemetry) Refused(ctx context.Context, aspsp string, by bulkhead.Refusal) {
	t.count(ctx, t.inst.refusals, aspsp, reasonKey.String(oneOf(refusals, string(by))))
}

// ObserveBreakers sets where each scrape and export reads the state of every ASPSP's circuit breaker, by the
// ASPSP's id: closed, half_open or open.
func (t *Telemetry) ObserveBreakers(states func() map[string]breaker.State) {
	t.breakers.Store(&states)
}

func (t *Telemetry) observeBreakers(_ context.Context, o metric.Int64Observer) error {
	states := t.breakers.Load()
	if states == nil {
		return nil
	}
	for id, state := range (*states)() {
		if n := slices.Index(breakerStates, string(state)); n >= 0 && t.aspsps[id] {
			o.Observe(int64(n), metric.WithAttributes(aspspKey.String(id)))
		}
	}
	return nil
}

func (t *Telemetry) count(ctx context.Context, c metric.Int64Counter, aspsp string, what attribute.KeyValue) {
	c.Add(ctx, 1, metric.WithAttributes(append(t.aspsp(aspsp), what)...))
}

// aspsp is the attribute that names a configured ASPSP; no attribute for any other.
func (t *Telemetry) aspsp(id string) []attribute.KeyValue {
	if !t.aspsps[id] {
		return nil
	}
	return []attribute.KeyValue{aspspKey.String(id)}
}

func oneOf(known []string, s string) string {
	if slices.Contains(known, s) {
		return s
	}
	return other
}
