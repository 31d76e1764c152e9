package telemetry

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"ais-gateway/internal/event"
	"ais-gateway/internal/store"
)

// zeros returns the labels of a family's counters that are 0.
func zeros(f *dto.MetricFamily) []string {
	var all []string
	for _, m := range f.GetMetric() {
		var l []string
		for _, p := range m.GetLabel() {
			l = append(l, p.GetName()+"="+p.GetValue())
		}
		if m.GetCounter().GetValue() == 0 {
			all = append(all, strings.Join(l, " "))
		}
	}
	slices.Sort(all)
	return all
}

// Prometheus's increase does not count the first event of a new series, so counters must start at
// 0.
func TestCountersBeginAtZero(t *testing.T) {
	tel, _, _ := inMemory(t, exporters{})
	tel.ObserveAudit(func() (bool, int64) { return true, 0 })
	tel.ObserveLog(func() int64 { return 0 })
	families := scrape(t, tel)
	each := func(label string, values []string) (all []string) {
		for _, v := range values {
			all = append(all, "ais_aspsp_id="+bank+" "+label+"="+v)
		}
		return all
	}
	for name, want := range map[string][]string{
		"ais_cache_results_total":       each("result", cacheResults),
		"ais_unattended_slots_total":    each("event", slotEvents),
		"ais_unattended_reads_total":    each("slot", slotUses),
		"ais_breaker_transitions_total": each("state", breakerStates),
		"ais_overload_refusals_total":   append(each("reason", limits), "reason=in_flight", "reason=client", "reason=files", "reason=audit"),
		"ais_secrets_reloads_total": {
			"outcome=ok part=cache", "outcome=failed part=cache", "outcome=ok part=clients", "outcome=failed part=clients",
		},
		"ais_aggregation_sources_total": each("outcome", []string{"ok", "stale", "partial", "failed", "skipped"}),
		"ais_aggregation_slots_total":   each("event", []string{"planned", "reserved", "spent", "released"}),
		"ais_telemetry_dropped_total":   {"signal=log", "signal=span"},
		"ais_audit_failures_total":      {""},
		"ais_log_lost_total":            {""},
	} {
		slices.Sort(want)
		if diff := cmp.Diff(want, zeros(families[name])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestGauges(t *testing.T) {
	tel, _, _ := inMemory(t, exporters{})
	names := []string{"ais_unattended_units", "ais_certificate_not_after_seconds", "ais_redis_usable", "ais_redis_evicts", "ais_redis_state"}
	for _, name := range names {
		if got := scrape(t, tel)[name]; got != nil {
			t.Errorf("%s has a value before it is known: %v", name, got)
		}
	}
	units := map[string]map[string]int64{
		bank: {"used_up": 7, "last": 0, "closed": 2, canary: 9}, unknown: {"used_up": 1},
	}
	tel.ObserveUnits(func(context.Context) map[string]map[string]int64 { return units })
	tel.ObserveCertificates(func() map[string]time.Time {
		return map[string]time.Time{"cache": time.Unix(1_800_000_000, 5), "clients": {}, canary: time.Unix(1, 0)}
	})
	tel.Redis(store.Health{State: store.NoPermission, Policy: "allkeys-lru"})
	read := func(slots int, stale bool) {
		tel.countRead(t.Context(), event.Request{ASPSP: bank, Read: true, Attended: &no, Status: 200, Slots: slots, StaleByLimit: stale})
	}
	read(0, false)
	read(2, false)
	read(1, true) // the ASPSP refused a counted call
	for range 4 {
		read(0, true)
	}
	read(-1, false) // more slots released than taken: counted as none
	families := scrape(t, tel)
	for name, want := range map[string]map[string]float64{
		"ais_unattended_units": {
			"ais_aspsp_id=" + bank + " state=used_up": 7, "ais_aspsp_id=" + bank + " state=last": 0, "ais_aspsp_id=" + bank + " state=closed": 2,
		},
		"ais_unattended_reads_total":        {"ais_aspsp_id=" + bank + " slot=taken": 2, "ais_aspsp_id=" + bank + " slot=none": 2, "ais_aspsp_id=" + bank + " slot=refused": 4},
		"ais_certificate_not_after_seconds": {"part=cache": 1_800_000_000},
		"ais_redis_usable":                  {"": 0},
		"ais_redis_evicts":                  {"": 1},
		"ais_redis_state": {
			"state=ok": 0, "state=unreachable": 0, "state=auth_failed": 0, "state=no_permission": 1, "state=read_only": 0,
			"state=out_of_memory": 0, "state=too_few_replicas": 0, "state=refuses_writes": 0,
		},
		"ais_overload_limit": {"reason=in_flight": 1000, "reason=client": 250, "reason=aspsp": 100},
	} {
		if diff := cmp.Diff(want, series(families[name])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	units = nil // Redis is unavailable: an old value would be wrong
	if got := scrape(t, tel)["ais_unattended_units"]; got != nil {
		t.Errorf("unknown units have a value: %v", got)
	}
}

func TestCommands(t *testing.T) {
	tel, _, _ := inMemory(t, exporters{})
	for _, c := range [][2]string{{"EVALSHA", ""}, {"EVALSHA", "timeout"}, {canary, canary}, {"get " + canary, ""}} {
		tel.Command(t.Context(), c[0], c[1], 300*time.Microsecond)
	}
	f := scrape(t, tel)["db_client_operation_duration_seconds"]
	want := map[string]float64{
		"db_operation_name=EVALSHA db_system_name=redis":                    1,
		"db_operation_name=EVALSHA db_system_name=redis error_type=timeout": 1,
		"db_operation_name=_OTHER db_system_name=redis error_type=_OTHER":   1,
		"db_operation_name=_OTHER db_system_name=redis":                     1,
	}
	if diff := cmp.Diff(want, series(f)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, b := range f.GetMetric()[0].GetHistogram().GetBucket() {
		if in := b.GetCumulativeCount() > 0; in != (b.GetUpperBound() >= 0.0003) {
			t.Errorf("a command of 0.3 ms is counted up to %v: %v", b.GetUpperBound(), in)
		}
	}
}
