package adapter_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
)

func TestLenientString(t *testing.T) {
	for raw, want := range map[string]adapter.LenientString{
		`"CODE"`: "CODE", `" CODE\n"`: "CODE", `""`: "", `" "`: "", `null`: "", `7`: "", `["CODE"]`: "", `{"a":"CODE"}`: "",
		`"` + strings.Repeat("x", 3000) + `"`: adapter.LenientString(strings.Repeat("x", 2048)),
	} {
		var got adapter.LenientString
		if err := json.Unmarshal([]byte(raw), &got); err != nil || got != want {
			t.Errorf("%.20s is %.20q, %v", raw, got, err)
		}
	}
}

func TestMoreSpecific(t *testing.T) {
	order := []canonical.Kind{
		canonical.ConsentExpired, canonical.ConsentInvalid, canonical.AccountUnknown, canonical.UnattendedLimit,
		canonical.ProviderRejected, canonical.ProviderUnavailable, canonical.ProviderError, "",
	}
	for i, a := range order {
		for j, b := range order {
			if got := adapter.MoreSpecific(a, b); got != (i < j) {
				t.Errorf("%q more specific than %q: %t", a, b, got)
			}
		}
	}
	if adapter.MoreSpecific(canonical.InternalError, "") {
		t.Error("a kind that no error response means is more specific than none")
	}
}

func TestAccountList(t *testing.T) {
	for name, tt := range map[string]struct {
		account canonical.Account
		number  string
		card    bool
		index   int
		added   bool
		ok      bool
	}{
		"another":             {account: canonical.Account{ID: "2", Currency: "EUR"}, index: 1, added: true, ok: true},
		"no currency":         {account: canonical.Account{ID: "2"}, index: 1, added: true, ok: true},
		"again":               {account: canonical.Account{ID: "1", Currency: "EUR"}, number: "DE-1", ok: true},
		"again, other form":   {account: canonical.Account{ID: "1", Currency: "EUR"}, number: "de 1", ok: true},
		"again, other number": {account: canonical.Account{ID: "1", Currency: "EUR"}, number: "DE2"},
		"again, other name":   {account: canonical.Account{ID: "1", Currency: "EUR", Name: "x"}, number: "DE1"},
		"no id":               {account: canonical.Account{}},
		"id is a dot segment": {account: canonical.Account{ID: ".."}},
		"id is too long":      {account: canonical.Account{ID: strings.Repeat("x", 257)}},
		"bad currency":        {account: canonical.Account{ID: "2", Currency: "eur"}},
		"card number as id":   {account: canonical.Account{ID: "5555555555554444"}, card: true},
		"no card":             {account: canonical.Account{ID: "5555555555554444"}, index: 1, added: true, ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			var l adapter.AccountList
			if _, _, err := l.Add(canonical.Account{ID: "1", Currency: "EUR"}, "DE1", false); err != nil {
				t.Fatal(err)
			}
			index, added, err := l.Add(tt.account, tt.number, tt.card)
			if (err == nil) != tt.ok || index != tt.index || added != tt.added {
				t.Errorf("index %d, added %t, %v", index, added, err)
			}
			if err != nil && kind(err) != canonical.ProviderInvalidResponse {
				t.Errorf("kind %s", kind(err))
			}
		})
	}
}

func TestCheckQuery(t *testing.T) {
	requirements := providers.Requirements{Token: true, ConsentUUID: true}
	for name, tt := range map[string]struct {
		change func(*canonical.Query)
		want   []string
	}{
		"valid":           {func(*canonical.Query) {}, nil},
		"no token":        {func(q *canonical.Query) { q.Token = "" }, []string{"Provider-Authorization"}},
		"token with line": {func(q *canonical.Query) { q.Token = "a\nb" }, []string{"Provider-Authorization"}},
		"no UUID":         {func(q *canonical.Query) { q.Consent = "consent" }, []string{"Consent-ID"}},
		"UUID in braces":  {func(q *canonical.Query) { q.Consent = "{" + q.Consent + "}" }, []string{"Consent-ID"}},
		"both":            {func(q *canonical.Query) { q.Consent, q.Token = "", "" }, []string{"Consent-ID", "Provider-Authorization"}},
	} {
		q := unattendedQuery()
		tt.change(&q)
		var got []string
		for _, f := range requirements.Check(q) {
			got = append(got, f.Name)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if failure := adapter.CheckAccount(q, requirements, ".."); failure == nil || failure.Kind != canonical.FormatError || len(failure.Faults) != len(tt.want)+1 {
			t.Errorf("%s: with an invalid account id: %v", name, failure)
		}
	}
	if failure := adapter.CheckAccount(unattendedQuery(), requirements, "account"); failure != nil {
		t.Error(failure)
	}
}
