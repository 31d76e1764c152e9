package aspspsim_test

import (
	"testing"
	"time"

	"ais-gateway/internal/providers/aspspsim"
)

// TestCallLog counts by the legal limit, and by others.
func TestCallLog(t *testing.T) {
	now := time.Date(2026, 11, 20, 23, 59, 0, 0, time.UTC)
	l := aspspsim.NewCallLog(func() time.Time { return now })
	l.SetPolicy("per resource", aspspsim.Policy{Limit: 1, Window: time.Hour, Unit: aspspsim.PerResource})
	l.SetPolicy("whole", aspspsim.Policy{Limit: 1, Window: time.Hour, Unit: aspspsim.PerASPSP})
	l.SetPolicy("never", aspspsim.Policy{Limit: 0, Window: time.Hour})
	const day = 24 * time.Hour
	for i, tt := range []struct {
		after time.Duration
		call  aspspsim.Call
		ok    bool
		wait  time.Duration
	}{
		{0, aspspsim.Call{ASPSP: "a", Consent: "1"}, true, 0},
		{time.Minute, aspspsim.Call{ASPSP: "a", Consent: "1", Account: "x"}, true, 0},
		{0, aspspsim.Call{ASPSP: "a", Consent: "1"}, true, 0},
		{0, aspspsim.Call{ASPSP: "a", Consent: "1"}, true, 0},
		{time.Minute, aspspsim.Call{ASPSP: "a", Consent: "1"}, false, day - 2*time.Minute},
		{0, aspspsim.Call{ASPSP: "a", Consent: "1", Attended: true}, true, 0},
		{0, aspspsim.Call{ASPSP: "a", Consent: "2"}, true, 0},
		{0, aspspsim.Call{ASPSP: "b", Consent: "1"}, true, 0},
		{day - 2*time.Minute - time.Second, aspspsim.Call{ASPSP: "a", Consent: "1"}, false, time.Second},
		{time.Second, aspspsim.Call{ASPSP: "a", Consent: "1"}, true, 0},
		{0, aspspsim.Call{ASPSP: "a", Consent: "1"}, false, time.Minute},
		{0, aspspsim.Call{ASPSP: "per resource", Consent: "1"}, true, 0},
		{0, aspspsim.Call{ASPSP: "per resource", Consent: "1", Account: "x"}, true, 0},
		{0, aspspsim.Call{ASPSP: "per resource", Consent: "1"}, false, time.Hour},
		{0, aspspsim.Call{ASPSP: "whole", Consent: "1"}, true, 0},
		{0, aspspsim.Call{ASPSP: "whole", Consent: "2"}, false, time.Hour},
		{0, aspspsim.Call{ASPSP: "never"}, false, time.Hour},
	} {
		now = now.Add(tt.after)
		if ok, wait := l.Admit(tt.call); ok != tt.ok || wait != tt.wait {
			t.Errorf("call %d: %t, %v, want %t, %v", i, ok, wait, tt.ok, tt.wait)
		}
	}
	if calls, breaches := len(l.Calls()), len(l.Breaches()); calls != 17 || breaches != 6 {
		t.Errorf("%d calls, %d breaches", calls, breaches)
	}
}
