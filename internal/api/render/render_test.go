package render

import (
	"encoding/json"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
)

// The bodies as structs, whose JSON the appended bodies must equal.
type (
	freshnessBody struct {
		Source      string `json:"source"`
		FetchedAt   string `json:"fetchedAt"`
		AgeSeconds  int64  `json:"ageSeconds"`
		Stale       bool   `json:"stale"`
		StaleReason string `json:"staleReason,omitempty"`
	}
	accountsBody struct {
		ASPSP     string          `json:"aspspId"`
		Provider  string          `json:"provider"`
		Accounts  json.RawMessage `json:"accounts"`
		Freshness freshnessBody   `json:"freshness"`
	}
	accountBody struct {
		IBAN           string                   `json:"iban,omitempty"`
		Identification canonical.Identification `json:"identification,omitzero"`
		Name           string                   `json:"name,omitempty"`
	}
	balancesBody struct {
		ASPSP     string              `json:"aspspId"`
		Provider  string              `json:"provider"`
		AccountID string              `json:"accountId"`
		Account   *accountBody        `json:"account,omitempty"`
		Balances  []canonical.Balance `json:"balances"`
		Freshness freshnessBody       `json:"freshness"`
	}
)

// TestBodies: the bodies of lists and balances are the JSON of their structs.
func TestBodies(t *testing.T) {
	a := gateway.ASPSPInfo{ID: "4f1e2d3c-0000-4000-8000-000000000001", Provider: `my"pos`}
	at := time.Date(2026, 11, 30, 1, 2, 3, 456_789_000, time.FixedZone("", 3600))
	amount, err := canonical.ParseAmount("-12.340", "EUR")
	if err != nil {
		t.Fatal(err)
	}
	balance := canonical.Balance{Type: canonical.BalanceTypeOther, ProviderType: "Saldo „x“\u2028", Amount: amount, ReferenceTime: at, ReferenceDate: "2026-11-30"}
	iban := canonical.NewIdentification("IBAN", "BG57INTF40015004462007")
	for _, f := range []gateway.Freshness{
		{Source: gateway.FromProvider, FetchedAt: at},
		{Source: gateway.FromCache, FetchedAt: at.Truncate(time.Second), Age: 90*time.Second + 1, Stale: true, StaleReason: gateway.StaleByLimit},
	} {
		fresh := freshnessBody{string(f.Source), formatTime(f.FetchedAt.Truncate(time.Millisecond)), wholeAge(f), f.Stale, string(f.StaleReason)}
		for _, list := range []string{"[]", `[{"accountId":"é<&>"}]`} {
			equal(t, AppendAccounts(nil, a, gateway.AccountsResult{Accounts: json.RawMessage(list), Freshness: f}),
				accountsBody{a.ID, a.Provider, json.RawMessage(list), fresh})
		}
		for _, b := range []struct {
			read canonical.AccountBalances
			ref  *accountBody
		}{
			{canonical.AccountBalances{Balances: []canonical.Balance{}}, nil},
			{canonical.AccountBalances{Name: "Giro <\"\\>", Balances: []canonical.Balance{balance}}, &accountBody{Name: "Giro <\"\\>"}},
			{canonical.AccountBalances{Identification: iban, Balances: []canonical.Balance{balance, {Amount: amount}}}, &accountBody{IBAN: iban.Value}},
			{
				canonical.AccountBalances{Identification: canonical.Identification{Scheme: "BBAN", Value: "1\t2"}, Name: "n", Balances: []canonical.Balance{}},
				&accountBody{Identification: canonical.Identification{Scheme: "BBAN", Value: "1\t2"}, Name: "n"},
			},
		} {
			got, err := AppendBalances(nil, a, "id/ключ\u007f", gateway.BalancesResult{AccountBalances: b.read, Freshness: f})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, got, balancesBody{a.ID, a.Provider, "id/ключ\u007f", b.ref, b.read.Balances, fresh})
		}
	}
	balance.ReferenceTime = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
	if got, err := AppendBalances(nil, a, "id", gateway.BalancesResult{AccountBalances: canonical.AccountBalances{Balances: []canonical.Balance{balance}}}); err == nil {
		t.Errorf("the year 10000 is written: %s", got)
	}
}

// equal checks that a body is the JSON of a value.
func equal(t *testing.T, got []byte, of any) {
	t.Helper()
	want, err := JSON(of)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("the body is\n%swant\n%s", got, want)
	}
}
