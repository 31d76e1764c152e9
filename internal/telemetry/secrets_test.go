package telemetry

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReloads(t *testing.T) {
	tel, _, _ := inMemory(t, exporters{})
	if got := scrape(t, tel)["ais_secrets_stale"]; got != nil {
		t.Errorf("something is stale before there are secrets: %v", got)
	}
	for _, ok := range []bool{true, false, false} {
		tel.Reload(t.Context(), "cache", ok)
	}
	tel.Reload(t.Context(), "/run/"+canary, false)
	tel.ObserveStale(func() map[string]bool { return map[string]bool{"cache": true, "clients": false, canary: true} })
	families := scrape(t, tel)
	for name, want := range map[string]map[string]float64{
		"ais_secrets_reloads_total": {"outcome=ok part=cache": 1, "outcome=failed part=cache": 2, "outcome=failed part=_OTHER": 1},
		"ais_secrets_stale":         {"part=cache": 1, "part=clients": 0},
	} {
		if diff := cmp.Diff(want, series(families[name])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
