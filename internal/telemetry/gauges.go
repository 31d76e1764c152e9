package telemetry

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"ais-gateway/internal/gateway"
	"ais-gateway/internal/store"
)

// Values of labels. The index of a breaker's state is its number in ais.breaker.state.
var (
	breakerStates = []string{"closed", "half_open", "open"}
	unitStates    = []string{"used_up", "last", "closed"}
)

// Redis sets the state of Redis that the gauges of Redis show. They have no value before the first
// call.
func (t *Telemetry) Redis(h store.Health) { t.redis.Store(&h) }

// An observation records one value with its attributes.
type observation func(n int64, attrs ...attribute.KeyValue)

// gauge adds a gauge whose values read returns at every scrape and export. Values for unknown
// ASPSPs, parts and states must not be recorded, because labels come from closed lists.
func (t *Telemetry) gauge(name, unit, description string, read func(context.Context, observation)) {
	_, err := t.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description), callback(read))
	if err != nil {
		otel.Handle(err)
	}
}

// counter adds a counter whose totals read returns at every scrape and export.
func (t *Telemetry) counter(name, unit, description string, read func(context.Context, observation)) {
	_, err := t.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description), callback(read))
	if err != nil {
		otel.Handle(err)
	}
}

// callback returns the option that calls read at every scrape and export.
func callback(read func(context.Context, observation)) metric.Int64ObservableOption {
	return metric.WithInt64Callback(func(ctx context.Context, o metric.Int64Observer) error {
		read(ctx, func(n int64, attrs ...attribute.KeyValue) { o.Observe(n, metric.WithAttributes(attrs...)) })
		return nil
	})
}

// gauges adds the gauges and counters whose values Telemetry has itself.
func (t *Telemetry) gauges() {
	t.gauge("ais.overload.limit", "{request}", "Requests or calls that may be under way at once, by the bound.",
		func(_ context.Context, observe observation) {
			for limit, n := range t.limits {
				if n > 0 && slices.Contains(limits, limit) {
					observe(int64(n), reasonKey.String(limit))
				}
			}
		})
	t.counter("ais.telemetry.dropped", "{attribute}", "Attributes that were dropped because nothing allows them, by what they were of.",
		func(_ context.Context, observe observation) {
			observe(t.local.Dropped(), signalKey.String("log"))
			observe(t.droppedSpans.Load(), signalKey.String("span"))
		})
	t.redisGauge("ais.redis.usable", "Whether Redis can be read and written: 1 if so.",
		func(h store.Health, observe observation) { observe(boolToInt(h.State == store.Usable)) })
	t.redisGauge("ais.redis.evicts", "Whether Redis may drop keys to make room, counted calls among them: 1 if so.",
		func(h store.Health, observe observation) { observe(boolToInt(h.Evicts())) })
	t.redisGauge("ais.redis.state", "The state of Redis: 1 for the current one, 0 for all others.",
		func(h store.Health, observe observation) {
			for _, state := range store.States() {
				observe(boolToInt(state == h.State), stateKey.String(string(state)))
			}
		})
}

// redisGauge adds a gauge that has no value before the first health check.
func (t *Telemetry) redisGauge(name, description string, read func(store.Health, observation)) {
	t.gauge(name, "{redis}", description, func(_ context.Context, observe observation) {
		if s := t.redis.Load(); s != nil {
			read(*s, observe)
		}
	})
}

// ObserveBreakers adds the gauge of circuit breakers. aspsps returns the state of the breaker of
// each ASPSP.
func (t *Telemetry) ObserveBreakers(aspsps func() []gateway.ASPSPInfo) {
	t.gauge("ais.breaker.state", "{state}", "State of the circuit breaker: 0 closed, 1 half open, 2 open.",
		func(_ context.Context, observe observation) {
			for _, a := range aspsps() {
				if n := slices.Index(breakerStates, string(a.Breaker)); n >= 0 && t.aspsps[a.ID] {
					observe(int64(n), aspspKey.String(a.ID))
				}
			}
		})
}

// ObserveUnits adds the gauge of units of the unattended limit. read returns how many units have no
// call left (used_up), one call left (last), or are blocked (closed), by ASPSP id and state. It
// leaves out what it cannot read.
func (t *Telemetry) ObserveUnits(read func(context.Context) map[string]map[string]int64) {
	t.gauge("ais.unattended.units", "{unit}", "Units of counting with no unattended call left, with one, or closed by the ASPSP, of all gateways together.",
		func(ctx context.Context, observe observation) {
			for id, states := range read(ctx) {
				for state, n := range states {
					if t.aspsps[id] && slices.Contains(unitStates, state) {
						observe(n, aspspKey.String(id), stateKey.String(state))
					}
				}
			}
		})
}

// ObserveCertificates adds the gauge of certificate expiry. notAfter returns when the first
// certificate in use expires, by part of the secrets; the zero time if a part has no certificate.
func (t *Telemetry) ObserveCertificates(notAfter func() map[string]time.Time) {
	t.gauge("ais.certificate.not_after", "s", "When the first certificate in use ends, as Unix time.",
		func(_ context.Context, observe observation) {
			for part, at := range notAfter() {
				if slices.Contains(t.secrets, part) && !at.IsZero() {
					observe(at.Unix(), partKey.String(part))
				}
			}
		})
}

// ObserveStale adds the gauge of stale secrets. stale returns for every part whether its secrets in
// use are older than its files, which are invalid.
func (t *Telemetry) ObserveStale(stale func() map[string]bool) {
	t.gauge("ais.secrets.stale", "{part}", "Whether the secrets in use are older than their files, which cannot be used: 1 if so.",
		func(_ context.Context, observe observation) {
			for part, is := range stale() {
				if slices.Contains(t.secrets, part) {
					observe(boolToInt(is), partKey.String(part))
				}
			}
		})
}

// ObserveAudit adds the metrics of audit records. state returns whether records are written, and
// how many were lost.
func (t *Telemetry) ObserveAudit(state func() (enabled bool, failures int64)) {
	t.gauge("ais.audit.enabled", "{sink}", "Whether audit records are written: 0 no, 1 yes.",
		func(_ context.Context, observe observation) {
			enabled, _ := state()
			observe(boolToInt(enabled))
		})
	t.counter("ais.audit.failures", "{record}", "Audit records that could not be written.",
		func(_ context.Context, observe observation) {
			_, failures := state()
			observe(failures)
		})
}

// ObserveLog adds the counter of lost log lines. lost returns their number since the start.
func (t *Telemetry) ObserveLog(lost func() int64) {
	t.counter("ais.log.lost", "{line}", "Log lines that could not be written, because the output was not read or failed.",
		func(_ context.Context, observe observation) { observe(lost()) })
}

// boolToInt returns 1 for true and 0 for false.
func boolToInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
