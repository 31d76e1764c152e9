package mastercard

import (
	"net/http"
	"testing"

	"ais-gateway/internal/providers/responsetest"
)

// BenchmarkAccounts decodes a response with ten accounts and maps them.
func BenchmarkAccounts(b *testing.B) {
	body := responsetest.OBCAccounts()
	for b.Loop() {
		if accounts, err := readAccounts(body, requestID); err != nil || len(accounts) != 10 {
			b.Fatal(accounts, err)
		}
	}
}

// BenchmarkBalances decodes a response with two balances and maps them.
func BenchmarkBalances(b *testing.B) {
	body := responsetest.OBCBalances()
	for b.Loop() {
		if found, err := readBalances(body, requestID, "aa:q1"); err != nil || len(found.Balances) != 2 {
			b.Fatal(found, err)
		}
	}
}

// BenchmarkSign signs a request for balances. Most of it is one RSA signature.
func BenchmarkSign(b *testing.B) {
	sign := signer(consumerKey, signingKey())
	body := []byte(`{"requestInfo":{"xRequestId":"` + requestID + `","isLivePsuRequest":true},"accountId":"aa:q1"}`)
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "https://api.mastercard.com"+routeBalances, nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := sign(r, body); err != nil {
			b.Fatal(err)
		}
	}
}
