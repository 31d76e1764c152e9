package berlingroup

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/unattended"
)

const (
	testASPSP     = "4f1e2d3c-0000-4000-8000-000000000003"
	testRequestID = "A552babc-7081-44e7-9361-61eb17e0bfd9" // a capital letter: it must arrive unchanged
)

// testQuery returns an attended query, which needs no counter.
func testQuery() canonical.Query {
	q := unattendedQuery()
	q.PSU = &canonical.PSU{
		IP: netip.MustParseAddr("203.0.113.7"), Port: 50123, UserAgent: "Mozilla/5.0",
		DeviceID: "99435c7e-ad88-49ec-a2ad-99ddcb1f5555", GeoLocation: "GEO:52.506931;13.144558",
	}
	return q
}

// unattendedQuery returns the same query without the user.
func unattendedQuery() canonical.Query {
	return canonical.Query{
		ASPSP: testASPSP, Consent: berlingroupsim.GoodConsent, RequestID: testRequestID,
		Customer: "customer-1", Merchant: &canonical.Merchant{ID: "m-1", Name: "Shop"},
	}
}

func noSettings(any) error { return nil }

// entry returns an ASPSP of the configuration.
func entry(id string, o Options) providers.ASPSP {
	return providers.ASPSP{ID: id, Path: "aspsps[0].options", Options: func(into any) error {
		*into.(*Options) = o
		return nil
	}}
}

// counter returns a counter with a limit, on a separate Redis.
func counter(t *testing.T, limit int) *unattended.Counter {
	t.Helper()
	st := redistest.OpenAt(t, redistest.Start(t).Addr)
	return unattended.New(st.Counter, map[string]config.Unattended{
		testASPSP: {Limit: limit, Window: 24 * time.Hour, Unit: config.UnitConsent},
	}).Within(redistest.CommandTimeout)
}

// serve opens the adapter on a test server. Without a counter it accepts attended queries only.
func serve(t *testing.T, h http.Handler, o Options, c *unattended.Counter) *provider {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := upstream.New(upstream.Config{Provider: "berlingroup", Timeout: 30 * time.Second, Counter: c})
	p, err := Open(noSettings, providers.Env{BaseURL: base, ASPSPs: []providers.ASPSP{entry(testASPSP, o)}, Client: transport.Client})
	if err != nil {
		t.Fatal(err)
	}
	return p.(*provider)
}

// simulate opens the adapter on a simulator of one bank, whose limit is high.
func simulate(t *testing.T, b berlingroupsim.Bank, o Options) (*provider, *aspspsim.CallLog) {
	t.Helper()
	b.ASPSP = testASPSP
	callLog := aspspsim.NewCallLog(time.Now)
	callLog.SetPolicy(testASPSP, aspspsim.Policy{Limit: 1000, Window: 24 * time.Hour, Unit: aspspsim.PerResource})
	return serve(t, berlingroupsim.New(berlingroupsim.Config{Log: callLog, Banks: []berlingroupsim.Bank{b}}), o, nil), callLog
}

func wantKind(t *testing.T, err error, want canonical.Kind) *canonical.Error {
	t.Helper()
	var failure *canonical.Error
	if !errors.As(err, &failure) {
		t.Fatalf("error is %v, want a *canonical.Error of %s", err, want)
	}
	if failure.Kind != want {
		t.Fatalf("error is %v, want %s", failure, want)
	}
	return failure
}
