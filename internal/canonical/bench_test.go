package canonical_test

import (
	"encoding/json"
	"testing"

	"ais-gateway/internal/canonical"
)

func BenchmarkAmount(b *testing.B) {
	for b.Loop() {
		a, err := canonical.ParseAmount("-1234567.8900", "EUR")
		if err != nil || a.Value() != "-1234567.89" {
			b.Fatal(a.Value(), err)
		}
	}
}

func BenchmarkEncodeAccounts(b *testing.B) {
	list := make([]canonical.Account, 10)
	for i := range list {
		list[i] = canonical.Account{
			ID: "50044620073", Identification: canonical.NewIdentification(canonical.SchemeIBAN, "BG57INTF40015004462007"),
			OtherIdentifications: []canonical.Identification{canonical.NewIdentification(canonical.SchemeProvider, "50044620073")},
			Currency:             "EUR", Type: canonical.AccountTypeOther, ProviderType: "E-Money", Status: "enabled", Name: "Girokonto",
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := canonical.EncodeAccounts(list); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeBalances(b *testing.B) {
	amount, err := canonical.ParseAmount("12345.67", "EUR")
	if err != nil {
		b.Fatal(err)
	}
	at, _, _ := canonical.ParseReference("2026-01-14T21:59:03Z")
	list := []canonical.Balance{
		{Type: canonical.ClosingBooked, ProviderType: "closingBooked", Amount: amount, ReferenceTime: at},
		{Type: canonical.InterimAvailable, ProviderType: "available", Amount: amount},
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := json.Marshal(list); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIdentifyAll(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		first, others := canonical.IdentifyAll(false,
			canonical.Identification{Scheme: canonical.SchemeIBAN, Value: "BG57INTF40015004462007"},
			canonical.Identification{Scheme: canonical.SchemeProvider, Value: "50044620073"})
		if first.IBAN() == "" || len(others) != 1 {
			b.Fatal(first, others)
		}
	}
}
