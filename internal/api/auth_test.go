package api_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"ais-gateway/internal/api"
	"ais-gateway/internal/auth"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
)

// routesUnderV1 has one valid request for each endpoint that needs credentials.
var routesUnderV1 = []struct{ method, target string }{
	{http.MethodGet, "/v1/aspsps"},
	{http.MethodGet, "/v1/aspsps/" + bank},
	{http.MethodGet, accountsOf},
	{http.MethodGet, balancesOf("1")},
	{http.MethodGet, accessOf},
	{http.MethodDelete, cachedOf},
	{http.MethodPost, aggregations},
}

// headersOf returns the headers that the endpoint of target accepts.
func headersOf(target string, all ...header) []header {
	if target != "/v1/aspsps" && target != "/v1/aspsps/"+bank {
		all = append(all, consent)
	}
	return all
}

// TestRateLimitStandsBeforeAll exceeds the rate limit with valid and invalid requests: all get
// RATE_LIMITED. Unauthenticated requests have no limit and do not count for any client.
func TestRateLimitStandsBeforeAll(t *testing.T) {
	limited := func(c *api.Config) {
		c.Callers = auth.New(auth.Config{Now: func() time.Time { return time.Unix(0, 0) }, Clients: config.Clients{
			APIKeys: []config.APIKey{
				{Name: "all", SHA256: config.Hashes{digest(allScope)}, Scopes: []string{config.ScopeAccounts, config.ScopeBalances}},
				{Name: "none", SHA256: config.Hashes{digest(noScope)}},
			},
			RateLimit: &config.RateLimit{PerSecond: 0.5, Burst: 2},
		}})
	}
	for _, route := range routesUnderV1 {
		t.Run(route.method+" "+route.target, func(t *testing.T) {
			s := open(t, good(), limited)
			for range 5 {
				if got := s.do(t, route.method, route.target, headersOf(route.target, header{"X-API-Key", "wrong"})...); got.status != http.StatusUnauthorized {
					t.Fatalf("answered %d", got.status)
				}
			}
			ill := headersOf(route.target, apiKey, header{"X-Request-ID", "ill"})
			if got := s.do(t, route.method, route.target, ill...); got.status != http.StatusBadRequest {
				t.Fatalf("answered %d", got.status)
			}
			if got := s.do(t, route.method, route.target, headersOf(route.target, apiKey)...); got.status >= 300 {
				t.Fatalf("answered %d", got.status)
			}
			asked := len(s.gateway.asked)
			for _, headers := range [][]header{headersOf(route.target, apiKey), ill} {
				got := s.do(t, route.method, route.target, headers...)
				p := got.problem()
				if got.status != http.StatusTooManyRequests || p.Code != "RATE_LIMITED" || p.Origin != "gateway" || !p.Retryable {
					t.Errorf("answered %d %+v", got.status, p)
				}
				if got.header.Get("Retry-After") != "2" {
					t.Errorf("Retry-After is %q", got.header.Get("Retry-After"))
				}
			}
			if len(s.gateway.asked) != asked {
				t.Error("the gateway was asked")
			}
			lines := s.lines(t)
			if last := lines[len(lines)-1]; last["client"] != "all" || last["code"] != "RATE_LIMITED" {
				t.Errorf("logged %v", last)
			}
			for range 2 { // FORBIDDEN takes of the client's too
				s.do(t, http.MethodGet, accountsOf, header{"X-API-Key", noScope}, consent)
			}
			if got := s.do(t, http.MethodGet, accountsOf, header{"X-API-Key", noScope}, consent); got.status != http.StatusTooManyRequests {
				t.Errorf("another client is answered %d", got.status)
			}
		})
	}
}

// known accepts every credential, or returns an error, and records the credentials.
type known struct {
	client auth.Client
	err    error
	shown  []auth.Credential
}

func (k *known) Authenticate(_ context.Context, shown auth.Credential) (auth.Client, error) {
	k.shown = append(k.shown, shown)
	return k.client, k.err
}

func (k *known) AllowRate(auth.Client, int) error { return nil }

// TestWhoCannotBeJudged checks the problem of every endpoint if the client cannot be authenticated
// now.
func TestWhoCannotBeJudged(t *testing.T) {
	unsure := &canonical.Error{Kind: canonical.Overloaded, Origin: canonical.OriginGateway, RetryAfter: 3 * time.Second, Detail: "it is so"}
	for _, route := range routesUnderV1 {
		s := open(t, good(), func(c *api.Config) { c.Callers = &known{err: unsure} })
		got := s.do(t, route.method, route.target, headersOf(route.target, apiKey)...)
		if p := got.problem(); got.status != http.StatusServiceUnavailable || p.Code != "OVERLOADED" || got.header.Get("Retry-After") != "3" {
			t.Errorf("%s %s: answered %d %+v", route.method, route.target, got.status, p)
		}
		if len(s.gateway.asked) != 0 {
			t.Error("the gateway was asked")
		}
	}
}

// TestClientIsItsID checks that the gateway gets the client's id, and the log its name.
func TestClientIsItsID(t *testing.T) {
	who := &known{client: auth.Client{ID: `oidc:"x"`, Name: "shown", Scopes: []string{config.ScopeAccounts, config.ScopeBalances}}}
	s := open(t, good(), func(c *api.Config) { c.Callers = who })
	for _, route := range routesUnderV1 {
		s.do(t, route.method, route.target, headersOf(route.target, apiKey)...)
	}
	for _, a := range s.gateway.asked {
		if want := `oidc:"x"`; a.client != want && a.call != "access" {
			t.Errorf("%s was asked for %q", a.call, a.client)
		}
	}
	for _, line := range s.lines(t) {
		if line["client"] != "shown" {
			t.Errorf("logged %v", line)
		}
	}
}

// TestWhatIsShown checks which credential is taken from X-API-Key and Authorization.
func TestWhatIsShown(t *testing.T) {
	for _, tt := range []struct {
		header header
		want   auth.Credential
	}{
		{header{"X-API-Key", "a.b.c"}, auth.Credential{Text: "a.b.c"}},
		{header{"Authorization", "Bearer a.b.c"}, auth.Credential{Text: "a.b.c", Bearer: true}},
		{header{"Authorization", "bearer  a.b.c"}, auth.Credential{Text: "a.b.c", Bearer: true}},
		{header{"Authorization", "Basic a.b.c"}, auth.Credential{}},
	} {
		who := &known{}
		s := open(t, good(), func(c *api.Config) { c.Callers = who })
		s.do(t, http.MethodGet, "/v1/aspsps", tt.header)
		if !slices.Equal(who.shown, []auth.Credential{tt.want}) {
			t.Errorf("%v: shown %q", tt.header, who.shown[0].Text.Reveal())
		}
	}
}
