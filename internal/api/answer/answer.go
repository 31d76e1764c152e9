// Package answer is what callers get: the gateway's answers and problems in the contract's own types and headers.
// It decides nothing; internal/api calls it and writes what it makes.
package answer

import (
	"bytes"
	"encoding/json"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/unattended"
)

// The answers, as the contract has them. What a provider did not give is left out.
type (
	aspsps struct {
		ASPSPs []aspsp `json:"aspsps"`
	}
	aspsp struct {
		ID         string  `json:"id"`
		Name       string  `json:"name"`
		Provider   string  `json:"provider"`
		Unattended policy  `json:"unattended"`
		Breaker    breaker `json:"breaker"`
	}
	breaker struct {
		State string `json:"state"`
	}
	policy struct {
		Limit  int    `json:"limit"`
		Window int64  `json:"windowSeconds"`
		Unit   string `json:"unit"`
	}
	accounts struct {
		ASPSP     string          `json:"aspspId"`
		Provider  string          `json:"provider"`
		Accounts  json.RawMessage `json:"accounts"`
		Freshness freshness       `json:"freshness"`
	}
	freshness struct {
		Source      string `json:"source"`
		FetchedAt   string `json:"fetchedAt"`
		AgeSeconds  int64  `json:"ageSeconds"`
		Stale       bool   `json:"stale"`
		StaleReason string `json:"staleReason,omitempty"`
	}
	balances struct {
		ASPSP     string              `json:"aspspId"`
		Provider  string              `json:"provider"`
		AccountID string              `json:"accountId"`
		Account   *named              `json:"account,omitempty"`
		Balances  []canonical.Balance `json:"balances"`
		Freshness freshness           `json:"freshness"`
	}
	named struct {
		IBAN           string                   `json:"iban,omitempty"`
		Identification canonical.Identification `json:"identification,omitzero"`
		Name           string                   `json:"name,omitempty"`
	}
	access struct {
		Limit      int     `json:"limit"`
		Used       int     `json:"used"`
		Remaining  int     `json:"remaining"`
		Unit       string  `json:"unit"`
		Window     int64   `json:"windowSeconds"`
		NextSlotAt *string `json:"nextSlotAt"`
	}
)

// ASPSPs is the answer with all configured ASPSPs.
func ASPSPs(list []gateway.ASPSPInfo) any {
	answer := aspsps{ASPSPs: make([]aspsp, len(list))}
	for i, a := range list {
		answer.ASPSPs[i] = ofASPSP(a)
	}
	return answer
}

// ASPSP is the answer with one of them.
func ASPSP(a gateway.ASPSPInfo) any { return ofASPSP(a) }

func ofASPSP(a gateway.ASPSPInfo) aspsp {
	return aspsp{
		ID: a.ID, Name: a.Name, Provider: a.Provider,
		Unattended: policy{a.Unattended.Limit, roundUp(a.Unattended.Window), string(a.Unattended.Unit)},
		Breaker:    breaker{string(a.Breaker)},
	}
}

// Accounts is the answer with an account list.
func Accounts(a gateway.ASPSPInfo, list gateway.AccountsResult) any {
	return accounts{ASPSP: a.ID, Provider: a.Provider, Accounts: list.Accounts, Freshness: ofFreshness(list.Freshness)}
}

// Balances is the answer with the balances of one account.
func Balances(a gateway.ASPSPInfo, accountID string, sheet gateway.BalancesResult) any {
	return balances{
		ASPSP: a.ID, Provider: a.Provider, AccountID: accountID, Account: ofNamed(sheet.AccountBalances),
		Balances: append([]canonical.Balance{}, sheet.Balances...), Freshness: ofFreshness(sheet.Freshness),
	}
}

// Access is the answer on where a unit of counting stands.
func Access(s unattended.Usage) any {
	answer := access{
		Limit: s.Limit, Used: s.Used, Remaining: s.Remaining, Unit: string(s.Unit), Window: roundUp(s.Window),
	}
	answer.NextSlotAt = moment(nextSlot(s))
	return answer
}

// nextSlot is when the next slot is free, in whole seconds; zero if one is free now, or if none ever is.
func nextSlot(s unattended.Usage) time.Time {
	if s.Remaining > 0 || s.NextAt.IsZero() {
		return time.Time{}
	}
	return wholeSecond(s.NextAt)
}

// wholeSecond rounds a time up, so that it is never too early.
func wholeSecond(t time.Time) time.Time { return t.Add(time.Second - 1).Truncate(time.Second) }

// ofNamed is how an answer on balances identifies its account: by the IBAN if there is one, and not at all where
// the provider said nothing.
func ofNamed(b canonical.AccountBalances) *named {
	answer := named{IBAN: b.Identification.IBAN(), Name: b.Name}
	if answer.IBAN == "" {
		answer.Identification = b.Identification
	}
	if answer == (named{}) {
		return nil
	}
	return &answer
}

func ofFreshness(f gateway.Freshness) freshness {
	return freshness{string(f.Source), stamp(f.FetchedAt.Truncate(time.Millisecond)), wholeAge(f), f.Stale, string(f.StaleReason)}
}

// stamp is RFC 3339 in UTC, with a fraction only where there is one.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func moment(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := stamp(t)
	return &s
}

// Encode writes JSON as it is to be sent: without HTML's escapes, which no caller needs.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}
