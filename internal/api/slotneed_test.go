package api_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
)

// TestNeededAndRemaining checks that the problem of a read that does not fit has the needed and the
// remaining calls, and no Retry-After if waiting does not help.
func TestNeededAndRemaining(t *testing.T) {
	for _, tt := range []struct {
		name       string
		slots      *canonical.SlotNeed
		wait       time.Duration
		retryAfter string
	}{
		{"waiting helps", &canonical.SlotNeed{Needed: 3, Remaining: 1}, 90 * time.Second, "90"},
		{"waiting does not help", &canonical.SlotNeed{Needed: 5, Remaining: 0}, 0, ""},
		{"no pages", nil, time.Second, "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, good())
			s.gateway.err = &canonical.Error{Kind: canonical.UnattendedLimit, Origin: canonical.OriginGateway, RetryAfter: tt.wait, Slots: tt.slots}
			got := s.do(t, http.MethodGet, accountsOf, apiKey, consent)
			var p struct {
				Code, Action      string
				Needed, Remaining *int
			}
			if err := json.Unmarshal([]byte(got.body), &p); err != nil {
				t.Fatal(err)
			}
			if got.status != http.StatusTooManyRequests || p.Code != "UNATTENDED_LIMIT" || p.Action != "retry_attended" {
				t.Errorf("%d %s", got.status, got.body)
			}
			if (p.Needed == nil) != (tt.slots == nil) || (p.Remaining == nil) != (tt.slots == nil) {
				t.Fatalf("%s", got.body)
			}
			if tt.slots != nil && (*p.Needed != tt.slots.Needed || *p.Remaining != tt.slots.Remaining) {
				t.Errorf("%s", got.body)
			}
			if after := got.header.Get("Retry-After"); after != tt.retryAfter {
				t.Errorf("Retry-After %q, want %q", after, tt.retryAfter)
			}
		})
	}
}
