package telemetry

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/metric"
)

// reloads are what may come of secrets whose files have changed.
var reloads = []string{"ok", "failed"}

// Reload counts a change of the files of one part's secrets; outcome is ok or failed.
func (t *Telemetry) Reload(ctx context.Context, part, outcome string) {
	t.inst.renewals.Add(ctx, 1, metric.WithAttributes(
		partKey.String(oneOf(t.secrets, part)), outcomeKey.String(oneOf(reloads, outcome))))
}

// ObserveStale sets where each scrape and export reads, for every part, whether the secrets in use are older than what
// stands in their files, which cannot be used.
func (t *Telemetry) ObserveStale(stale func() map[string]bool) { t.stale.Store(&stale) }

func (t *Telemetry) observeSecrets(m metric.Meter) error {
	_, err := m.Int64ObservableGauge("ais.secrets.stale", metric.WithUnit("{part}"),
		metric.WithDescription("Whether the secrets in use are older than their files, which cannot be used: 1 if so."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			stale := t.stale.Load()
			if stale == nil {
				return nil
			}
			for part, is := range (*stale)() {
				n := int64(0)
				if is {
					n = 1
				}
				if slices.Contains(t.secrets, part) {
					o.Observe(n, metric.WithAttributes(partKey.String(part)))
				}
			}
			return nil
		}))
	return err
}
