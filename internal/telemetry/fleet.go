package telemetry

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"ais-gateway/internal/event"
)

const slotKey = attribute.Key("slot")

// What the labels of these metrics may say, beside bounds.
var (
	unitStates = []string{"used_up", "last", "closed"}
	slotUses   = []string{"taken", "none", "refused"}
	// redisStates are those of /readyz.
	redisStates = []string{
		"ok", "unreachable", "auth_failed", "no_permission", "read_only", "out_of_memory", "too_few_replicas", "refuses_writes",
	}
)

// A RedisState is how Redis was when it was last asked, as /readyz sees it.
type RedisState struct {
	State          string // as in /readyz
	Usable, Evicts bool
}

// countRead counts a successful unattended read of the ASPSP's accounts or balances: slot is taken if it took slots,
// refused if a slot was refused and a stale list was returned, and none otherwise.
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
	t.count(ctx, t.inst.reads, r.ASPSP, slotKey.String(use))
}

// ObserveUnits sets where each scrape and export reads how many units of counting have no call left, one, or were closed:
// by the ASPSP's id and used_up, last or closed. What is not known is not in it, and then not told.
func (t *Telemetry) ObserveUnits(read func(context.Context) map[string]map[string]int64) {
	t.units.Store(&read)
}

// ObserveCertificates sets where each scrape and export reads when the first certificate in use ends, by the part of the
// secrets that it belongs to. Parts without certificates are not in it.
func (t *Telemetry) ObserveCertificates(ends func() map[string]time.Time) { t.ends.Store(&ends) }

// Redis tells how Redis is now.
func (t *Telemetry) Redis(s RedisState) { t.redis.Store(&s) }

// fleet makes the instruments that tell of what all gateways share, and of bounds.
func (t *Telemetry) fleet(m metric.Meter) error {
	gauges := make([]metric.Int64ObservableGauge, 6)
	for i, g := range []struct{ name, unit, description string }{
		{"ais.unattended.units", "{unit}", "Units of counting with no unattended call left, with one, or closed by the ASPSP, of all gateways together."},
		{"ais.certificate.not_after", "s", "When the first certificate in use ends, as Unix time."},
		{"ais.redis.usable", "{redis}", "Whether Redis can be read and written: 1 if so."},
		{"ais.redis.evicts", "{redis}", "Whether Redis may drop keys to make room, counted calls among them: 1 if so."},
		{"ais.overload.limit", "{request}", "Requests or calls that may be under way at once, by the bound."},
		{"ais.redis.state", "{redis}", "The state of Redis: 1 for the current one, 0 for all others."},
	} {
		var err error
		if gauges[i], err = m.Int64ObservableGauge(g.name, metric.WithUnit(g.unit), metric.WithDescription(g.description)); err != nil {
			return err
		}
	}
	all := make([]metric.Observable, len(gauges))
	for i, g := range gauges {
		all[i] = g
	}
	_, err := m.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		t.tellUnits(ctx, o, gauges[0])
		t.tellEnds(o, gauges[1])
		if s := t.redis.Load(); s != nil {
			o.ObserveInt64(gauges[2], one(s.Usable))
			o.ObserveInt64(gauges[3], one(s.Evicts))
			for _, state := range redisStates {
				o.ObserveInt64(gauges[5], one(state == s.State), metric.WithAttributes(stateKey.String(state)))
			}
		}
		for bound, n := range t.bounds {
			if n > 0 && slices.Contains(bounds, bound) {
				o.ObserveInt64(gauges[4], int64(n), metric.WithAttributes(reasonKey.String(bound)))
			}
		}
		return nil
	}, all...)
	return err
}

func (t *Telemetry) tellUnits(ctx context.Context, o metric.Observer, units metric.Int64Observable) {
	read := t.units.Load()
	if read == nil {
		return
	}
	for id, states := range (*read)(ctx) {
		for state, n := range states {
			if t.aspsps[id] && slices.Contains(unitStates, state) {
				o.ObserveInt64(units, n, metric.WithAttributes(aspspKey.String(id), stateKey.String(state)))
			}
		}
	}
}

func (t *Telemetry) tellEnds(o metric.Observer, notAfter metric.Int64Observable) {
	ends := t.ends.Load()
	if ends == nil {
		return
	}
	for part, end := range (*ends)() {
		if slices.Contains(t.secrets, part) {
			o.ObserveInt64(notAfter, end.Unix(), metric.WithAttributes(partKey.String(part)))
		}
	}
}

func one(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

// zero begins all counters whose labels have a closed set of values, so that the first event is seen as a growth. Where that
// alone would take an instrument's series, its counters begin with their first event.
func (t *Telemetry) zero() {
	ctx := context.Background()
	begin := func(c metric.Int64Counter, key attribute.Key, values []string) {
		if len(t.aspsps)*len(values) > maxSeries/2 {
			return
		}
		for id := range t.aspsps {
			for _, v := range values {
				c.Add(ctx, 0, metric.WithAttributes(aspspKey.String(id), key.String(v)))
			}
		}
	}
	begin(t.inst.cache, resultKey, cacheResults)
	begin(t.inst.slots, eventKey, slotEvents)
	begin(t.inst.reads, slotKey, slotUses)
	begin(t.inst.transitions, stateKey, breakerStates)
	begin(t.inst.refusals, reasonKey, bounds)
	for _, bound := range []string{"in_flight", "client", "files", "audit"} { // of requests that name no ASPSP
		t.inst.refusals.Add(ctx, 0, metric.WithAttributes(reasonKey.String(bound)))
	}
	for _, part := range t.secrets {
		for _, outcome := range reloads {
			t.inst.renewals.Add(ctx, 0, metric.WithAttributes(partKey.String(part), outcomeKey.String(outcome)))
		}
	}
}
