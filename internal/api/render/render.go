// Package render builds the bodies and headers of the API's responses from the gateway's results.
// It makes no decisions; internal/api writes what it returns.
package render

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/unattended"
)

// The response bodies. Their accounts and balances are the canonical types.
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
		Account   *accountRef         `json:"account,omitempty"`
		Balances  []canonical.Balance `json:"balances"`
		Freshness freshness           `json:"freshness"`
	}
	accountRef struct {
		IBAN           string                   `json:"iban,omitempty"`
		Identification canonical.Identification `json:"identification,omitzero"`
		Name           string                   `json:"name,omitempty"`
	}
	usage struct {
		Limit      int     `json:"limit"`
		Used       int     `json:"used"`
		Remaining  int     `json:"remaining"`
		Unit       string  `json:"unit"`
		Window     int64   `json:"windowSeconds"`
		NextSlotAt *string `json:"nextSlotAt"`
	}
)

// ASPSPs returns the body with all configured ASPSPs.
func ASPSPs(list []gateway.ASPSPInfo) any {
	body := aspsps{ASPSPs: make([]aspsp, len(list))}
	for i, a := range list {
		body.ASPSPs[i] = newASPSP(a)
	}
	return body
}

// ASPSP returns the body with one ASPSP.
func ASPSP(a gateway.ASPSPInfo) any { return newASPSP(a) }

func newASPSP(a gateway.ASPSPInfo) aspsp {
	return aspsp{
		ID: a.ID, Name: a.Name, Provider: a.Provider,
		Unattended: policy{a.Unattended.Limit, roundUp(a.Unattended.Window), string(a.Unattended.Unit)},
		Breaker:    breaker{string(a.Breaker)},
	}
}

// Accounts returns the encoded body with an account list. The list is part of it as it is stored:
// canonical.EncodeAccounts returns the form of the API.
func Accounts(a gateway.ASPSPInfo, list gateway.AccountsResult) []byte {
	f := list.Freshness
	b := make([]byte, 0, len(list.Accounts)+maxFrame)
	b = appendMember(b, `{"aspspId":`, a.ID)
	b = appendMember(b, `,"provider":`, a.Provider)
	b = append(append(b, `,"accounts":`...), list.Accounts...)
	b = appendMember(b, `,"freshness":{"source":`, string(f.Source))
	b = append(b, `,"fetchedAt":"`...)
	b = f.FetchedAt.Truncate(time.Millisecond).UTC().AppendFormat(b, time.RFC3339Nano)
	b = strconv.AppendInt(append(b, `","ageSeconds":`...), wholeAge(f), 10)
	b = strconv.AppendBool(append(b, `,"stale":`...), f.Stale)
	if f.StaleReason != gateway.NotStale {
		b = appendMember(b, `,"staleReason":`, string(f.StaleReason))
	}
	return append(b, "}}\n"...)
}

// maxFrame is about how many bytes a body has besides its account list.
const maxFrame = 320

// appendMember appends a text after the beginning of its member. The text is an id, a name from the
// configuration, or a constant: characters that JSON must escape are escaped.
func appendMember(b []byte, member, text string) []byte {
	b = append(b, member...)
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := JSON(text) // a string always encodes
			return append(b, bytes.TrimSuffix(quoted, []byte("\n"))...)
		}
	}
	b = append(b, '"')
	b = append(b, text...)
	return append(b, '"')
}

// Balances returns the body with the balances of one account.
func Balances(a gateway.ASPSPInfo, accountID string, result gateway.BalancesResult) any {
	return balances{
		ASPSP: a.ID, Provider: a.Provider, AccountID: accountID, Account: newAccountRef(result.AccountBalances),
		Balances: append([]canonical.Balance{}, result.Balances...), Freshness: newFreshness(result.Freshness),
	}
}

// Usage returns the body with the usage of the unattended limit.
func Usage(u unattended.Usage) any {
	body := usage{
		Limit: u.Limit, Used: u.Used, Remaining: u.Remaining, Unit: string(u.Unit), Window: roundUp(u.Window),
	}
	if next := nextSlot(u); !next.IsZero() {
		text := formatTime(next)
		body.NextSlotAt = &text
	}
	return body
}

// nextSlot returns when the next slot is free, rounded up to a second. It returns zero if a slot is
// free now, or if no slot will be free.
func nextSlot(u unattended.Usage) time.Time {
	if u.Remaining > 0 || u.NextAt.IsZero() {
		return time.Time{}
	}
	return wholeSecond(u.NextAt)
}

// wholeSecond rounds t up to a second, so that it is never too early.
func wholeSecond(t time.Time) time.Time { return t.Add(time.Second - 1).Truncate(time.Second) }

// newAccountRef returns how a balances response identifies its account: by the IBAN if there is
// one. It returns nil if the provider gave no identification and no name.
func newAccountRef(b canonical.AccountBalances) *accountRef {
	ref := accountRef{IBAN: b.Identification.IBAN(), Name: b.Name}
	if ref.IBAN == "" {
		ref.Identification = b.Identification
	}
	if ref == (accountRef{}) {
		return nil
	}
	return &ref
}

func newFreshness(f gateway.Freshness) freshness {
	return freshness{string(f.Source), formatTime(f.FetchedAt.Truncate(time.Millisecond)), wholeAge(f), f.Stale, string(f.StaleReason)}
}

// formatTime returns t in UTC by RFC 3339. Seconds have a fraction only if t has one.
func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// JSON encodes a body without escapes for HTML.
func JSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}
