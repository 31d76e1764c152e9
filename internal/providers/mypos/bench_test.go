package mypos

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/responsetest"
)

// BenchmarkBalances measures a read of balances, from the query to the canonical balances, without
// the call itself.
func BenchmarkBalances(b *testing.B) {
	p, q := openBench(b, responsetest.MyPOSBalances()), testQuery()
	b.ReportAllocs()
	for b.Loop() {
		if got, err := p.Balances(context.Background(), q, "50044620073"); err != nil || len(got.Balances) != 2 {
			b.Fatal(got, err)
		}
	}
}

// BenchmarkAccounts measures a read of a list of ten accounts, in the same way.
func BenchmarkAccounts(b *testing.B) {
	p, q := openBench(b, responsetest.MyPOSAccounts()), testQuery()
	b.ReportAllocs()
	for b.Loop() {
		if got, err := p.Accounts(context.Background(), q); err != nil || len(got) != 10 {
			b.Fatal(got, err)
		}
	}
}

// openBench returns the adapter with a client that returns a body.
func openBench(b *testing.B, body []byte) providers.Provider {
	b.Helper()
	p, err := Open(testSettings, providers.Env{
		BaseURL: &url.URL{Scheme: "http", Host: "127.0.0.1"},
		Client: func(providers.ClientConfig) providers.Client {
			return &cannedClient{status: http.StatusOK, body: body}
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return p
}
