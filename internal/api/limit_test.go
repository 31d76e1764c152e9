package api_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/api"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
)

// TestOverload checks that at the limit of all requests every call under /v1 is refused before it
// is parsed, and at the limit of one client only the calls of that client.
func TestOverload(t *testing.T) {
	calls := []struct{ method, target, aspsp string }{
		{"GET", "/v1/aspsps", ""},
		{"GET", "/v1/aspsps/" + bank, bank},
		{"GET", accountsOf, bank},
		{"GET", balancesOf("a"), bank},
		{"GET", accessOf, bank},
		{"DELETE", cachedOf, bank},
		{"POST", aggregations, ""},
	}
	for _, tt := range []struct {
		name    string
		bound   func(*api.Config)
		other   int // how another client is answered
		refused func(aspsp string) string
	}{
		{"in all", func(c *api.Config) { c.InFlight = 1 }, 503, func(string) string { return "in_flight " }},
		{"of a client", func(c *api.Config) { c.PerClient = 1 }, 200, func(aspsp string) string { return "client " + aspsp }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, o := good(), &observer{}
			under, done := make(chan struct{}), make(chan struct{})
			f.during = func(context.Context) { close(under); <-done }
			s := open(t, f, tt.bound, func(c *api.Config) { c.Observer = refusals{o} })
			first := make(chan reply)
			go func() { first <- s.do(t, "GET", accountsOf, apiKey, consent) }()
			<-under
			var want []string
			for _, c := range calls {
				got := s.do(t, c.method, c.target, apiKey, consent)
				if p := got.problem(); got.status != 503 || p.Code != string(canonical.Overloaded) || got.header.Get("Retry-After") != "1" {
					t.Errorf("%s %s: %d %s", c.method, c.target, got.status, got.body)
				}
				want = append(want, tt.refused(c.aspsp))
			}
			if diff := cmp.Diff(want, o.refused); diff != "" {
				t.Errorf("refusals as observed: %s", diff)
			}
			if got := s.do(t, "GET", "/v1/aspsps", header{"X-API-Key", "key-of-another"}); got.status != tt.other {
				t.Errorf("another client: %d %s", got.status, got.body)
			}
			if got := s.do(t, "GET", "/openapi.yaml"); got.status != 200 {
				t.Errorf("the contract: %d", got.status)
			}
			close(done)
			if got := <-first; got.status != 200 {
				t.Errorf("who had a place: %d %s", got.status, got.body)
			}
			f.during = nil
			if got := s.do(t, "GET", "/v1/aspsps", apiKey); got.status != 200 {
				t.Errorf("afterwards: %d %s", got.status, got.body)
			}
		})
	}
}

// TestPlacesAreGivenBack checks that every outcome of a request releases its place.
func TestPlacesAreGivenBack(t *testing.T) {
	f := good()
	s := open(t, f, func(c *api.Config) { c.InFlight, c.PerClient = 1, 1 })
	for range 3 {
		f.during = func(context.Context) { panic("a fault of ours") }
		if got := s.do(t, "GET", accountsOf, apiKey, consent); got.status != 500 {
			t.Errorf("a panic: %d", got.status)
		}
		f.during = nil
		for _, c := range []struct {
			headers []header
			status  int
		}{
			{nil, 401},
			{[]header{apiKey}, 400},
			{[]header{{"X-API-Key", noScope}, consent}, 403},
			{[]header{apiKey, consent}, 200},
		} {
			if got := s.do(t, "GET", accountsOf, c.headers...); got.status != c.status {
				t.Errorf("%d, want %d: %s", got.status, c.status, got.body)
			}
		}
	}
}

// refusals is an observer that records only refusals.
type refusals struct{ *observer }

func (refusals) Request(ctx context.Context, _ string, _ http.Header) (context.Context, func(event.Request)) {
	return ctx, func(event.Request) {}
}
