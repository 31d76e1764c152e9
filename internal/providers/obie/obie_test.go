package obie

import (
	"errors"
	"fmt"
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
	"ais-gateway/internal/providers/obie/obiesim"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/unattended"
)

const (
	testASPSP     = "4f1e2d3c-0000-4000-8000-000000000004"
	testRequestID = "A552babc-7081-44e7-9361-61eb17e0bfd9" // a capital letter: it must arrive unchanged
)

func token(consent string) canonical.Secret { return canonical.Secret(obiesim.Token(consent)) }

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
		ASPSP: testASPSP, Consent: obiesim.GoodConsent, Token: token(obiesim.GoodConsent), RequestID: testRequestID,
		Customer: "customer-1", Merchant: &canonical.Merchant{ID: "m-1", Name: "Shop"},
	}
}

func queryOf(consent string) canonical.Query {
	q := testQuery()
	q.Consent, q.Token = consent, token(consent)
	return q
}

func noSettings(any) error { return nil }

// options returns a decoder of an ASPSP's options.
func options(o Options) func(any) error {
	return func(into any) error {
		*into.(*Options) = o
		return nil
	}
}

// counter returns a counter with a limit, on a separate Redis.
func counter(t *testing.T, limit int) *unattended.Counter {
	t.Helper()
	st := redistest.OpenAt(t, redistest.Start(t).Addr)
	return unattended.New(st.Counter, map[string]config.Unattended{
		testASPSP: {Limit: limit, Window: 24 * time.Hour, Unit: config.UnitConsent},
	}).Within(redistest.CommandTimeout)
}

// openAll opens the adapter with ASPSPs by id.
func openAll(t *testing.T, base string, all map[string]Options) *provider {
	t.Helper()
	var aspsps []providers.ASPSP
	for id, o := range all {
		aspsps = append(aspsps, providers.ASPSP{ID: id, Path: "aspsps[0].options", Options: options(o)})
	}
	return openWith(t, base, aspsps, upstream.Config{})
}

func openWith(t *testing.T, base string, aspsps []providers.ASPSP, wire upstream.Config) *provider {
	t.Helper()
	wire.Provider, wire.Timeout = "obie", 30*time.Second
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(noSettings, providers.Env{BaseURL: u, Client: upstream.New(wire).Client, ASPSPs: aspsps})
	if err != nil {
		t.Fatal(err)
	}
	return p.(*provider)
}

// serve opens the adapter on a test server. Without a counter it accepts attended queries only.
func serve(t *testing.T, h http.Handler, o Options, c *unattended.Counter) *provider {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	aspsps := []providers.ASPSP{{ID: testASPSP, Path: "aspsps[0].options", Options: options(o)}}
	return openWith(t, server.URL, aspsps, upstream.Config{Counter: c})
}

func newLog() *aspspsim.CallLog {
	log := aspspsim.NewCallLog(time.Now)
	log.SetPolicy(testASPSP, aspspsim.Policy{Limit: 1000, Window: 24 * time.Hour, Unit: aspspsim.PerResource})
	return log
}

// simulate opens the adapter on a simulator of the bank, which has a high limit.
func simulate(t *testing.T, bank obiesim.Bank, o Options) (*provider, *aspspsim.CallLog) {
	t.Helper()
	log := newLog()
	bank.ASPSP = testASPSP
	return serve(t, obiesim.New(obiesim.Config{Log: log, Banks: []obiesim.Bank{bank}}), o, nil), log
}

// answers returns a handler that sends the same body to every call.
func answers(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
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
