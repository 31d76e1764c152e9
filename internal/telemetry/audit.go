package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const signalKey = attribute.Key("signal")

// signals are what attributes may be dropped of.
var signals = []string{"log", "span"}

// ObserveAudit sets where each scrape and export reads whether audit records are written, and how many were lost.
func (t *Telemetry) ObserveAudit(state func() (enabled bool, failures int64)) { t.audit.Store(&state) }

// ObserveLog sets where each scrape and export reads how many log lines were lost.
func (t *Telemetry) ObserveLog(lost func() int64) { t.unlogged.Store(&lost) }

// privacy makes the instruments that tell of what is not told, and of audit records.
func (t *Telemetry) privacy(m metric.Meter) error {
	dropped, err := m.Int64ObservableCounter("ais.telemetry.dropped", metric.WithUnit("{attribute}"),
		metric.WithDescription("Attributes that were dropped because nothing allows them, by what they were of."))
	if err != nil {
		return err
	}
	enabled, err := m.Int64ObservableGauge("ais.audit.enabled", metric.WithUnit("{sink}"),
		metric.WithDescription("Whether audit records are written: 0 no, 1 yes."))
	if err != nil {
		return err
	}
	failures, err := m.Int64ObservableCounter("ais.audit.failures", metric.WithUnit("{record}"),
		metric.WithDescription("Audit records that could not be written."))
	if err != nil {
		return err
	}
	unlogged, err := m.Int64ObservableCounter("ais.log.lost", metric.WithUnit("{line}"),
		metric.WithDescription("Log lines that could not be written, because the output was not read or failed."))
	if err != nil {
		return err
	}
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for i, n := range []int64{t.lost.logs.Load(), t.lost.spans.Load()} {
			o.ObserveInt64(dropped, n, metric.WithAttributes(signalKey.String(signals[i])))
		}
		if state := t.audit.Load(); state != nil {
			on, lost := (*state)()
			o.ObserveInt64(enabled, map[bool]int64{true: 1}[on])
			o.ObserveInt64(failures, lost)
		}
		if lost := t.unlogged.Load(); lost != nil {
			o.ObserveInt64(unlogged, (*lost)())
		}
		return nil
	}, dropped, enabled, failures, unlogged)
	return err
}
