package render_test

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"ais-gateway/internal/api/render"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/unattended"
)

var bank = gateway.ASPSPInfo{ID: "4f1e2d3c-0000-4000-8000-000000000101", Name: "myPOS", Provider: "mypos"}

// freshness is that of a response without a cached list.
var freshness = gateway.Freshness{Source: gateway.FromProvider, FetchedAt: time.Date(2026, 2, 3, 7, 45, 7, 0, time.UTC)}

// identification is the IBAN of every account.
var identification = canonical.Identification{Scheme: canonical.SchemeIBAN, Value: "BG83MPOS94001000244010"}

// BenchmarkAccounts renders a list of ten accounts, which is encoded already.
func BenchmarkAccounts(b *testing.B) {
	list := make([]canonical.Account, 10)
	for i := range list {
		list[i] = canonical.Account{
			ID: "5004071000" + strconv.Itoa(i), Identification: identification, Currency: "EUR", Type: canonical.AccountTypeOther,
			ProviderType: "E-Money", Status: "enabled", Name: "Everyday account " + strconv.Itoa(i),
		}
	}
	encoded, err := canonical.EncodeAccounts(list)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if body := render.AppendAccounts(nil, bank, gateway.AccountsResult{Accounts: encoded, Freshness: freshness}); len(body) <= len(encoded) {
			b.Fatal(string(body))
		}
	}
}

// BenchmarkBalances renders two balances.
func BenchmarkBalances(b *testing.B) {
	result := gateway.BalancesResult{AccountBalances: canonical.AccountBalances{Identification: identification}, Freshness: freshness}
	for _, kind := range []canonical.BalanceType{canonical.ClosingBooked, canonical.InterimAvailable} {
		amount, err := canonical.ParseAmount("20480.15", "EUR")
		if err != nil {
			b.Fatal(err)
		}
		result.Balances = append(result.Balances, canonical.Balance{Type: kind, ProviderType: "available", Amount: amount})
	}
	for b.Loop() {
		body, err := render.AppendBalances(nil, bank, "50040710001", result)
		if err != nil || bytes.Count(body, []byte(`"CRDT"`)) != 2 {
			b.Fatal(string(body), err)
		}
	}
}

// BenchmarkProblem renders the refusal of an unattended request without a slot left.
func BenchmarkProblem(b *testing.B) {
	now := time.Date(2026, 2, 3, 7, 45, 7, 0, time.UTC)
	policy := config.Unattended{Limit: 4, Window: 24 * time.Hour, Unit: config.UnitConsent}
	context := render.ProblemContext{
		RequestID: "0c8e7f2a-4b6d-4e19-a3d5-7f1b2c3d4e5f", ASPSP: bank.ID, Provider: bank.Provider, ReadsUsage: true, HasAccount: true, Policy: policy,
		Usage: &unattended.Usage{Limit: 4, Used: 4, Unit: policy.Unit, Window: policy.Window, Wait: time.Hour, NextAt: now.Add(time.Hour)},
		Now:   func() time.Time { return now },
	}
	refusal := canonical.NewError(canonical.UnattendedLimit, "")
	for b.Loop() {
		if body, err := render.JSON(render.NewProblem(refusal, context)); err != nil || !bytes.Contains(body, []byte("UNATTENDED_LIMIT")) {
			b.Fatal(string(body), err)
		}
	}
}
