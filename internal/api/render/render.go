// Package render builds the bodies and headers of the API's responses from the gateway's results.
// It makes no decisions; internal/api writes what it returns.
package render

import (
	"slices"
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
		ID                 string       `json:"id"`
		Name               string       `json:"name"`
		Provider           string       `json:"provider"`
		Unattended         policy       `json:"unattended"`
		PSUAddressRequired bool         `json:"psuAddressRequired"`
		Requires           requirements `json:"requires"`
		Capabilities       capabilities `json:"capabilities"`
		Breaker            breaker      `json:"breaker"`
	}
	requirements struct {
		ProviderAuthorization bool   `json:"providerAuthorization"`
		ConsentIDFormat       string `json:"consentIdFormat"`
	}
	capabilities struct {
		ListWithBalances bool `json:"listWithBalances"`
		AllBalances      bool `json:"allBalances"`
	}
	breaker struct {
		State string `json:"state"`
	}
	policy struct {
		Limit  int    `json:"limit"`
		Window int64  `json:"windowSeconds"`
		Unit   string `json:"unit"`
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
	consentIDs := "text"
	if a.Requires.ConsentUUID {
		consentIDs = "uuid"
	}
	return aspsp{
		ID: a.ID, Name: a.Name, Provider: a.Provider,
		Unattended:         policy{a.Unattended.Limit, roundUp(a.Unattended.Window), string(a.Unattended.Unit)},
		PSUAddressRequired: a.PSUAddressRequired,
		Requires:           requirements{a.Requires.Token, consentIDs},
		Capabilities:       capabilities(a.Capabilities),
		Breaker:            breaker{string(a.Breaker)},
	}
}

// AppendAccounts appends the encoded body with an account list. The list is part of it as it is
// stored: canonical.EncodeAccounts returns the form of the API.
func AppendAccounts(b []byte, a gateway.ASPSPInfo, list gateway.AccountsResult) []byte {
	b = appendASPSP(slices.Grow(b, len(list.Accounts)+maxFrame), a)
	b = append(append(b, `,"accounts":`...), list.Accounts...)
	return append(appendFreshness(b, "freshness", list.Freshness), "}\n"...)
}

// AppendBalances appends the encoded body with the balances of one account. It fails if a balance's
// time cannot be encoded.
func AppendBalances(b []byte, a gateway.ASPSPInfo, accountID string, result gateway.BalancesResult) ([]byte, error) {
	b = appendASPSP(slices.Grow(b, maxFrame+maxBalance*len(result.Balances)), a)
	b = canonical.AppendString(append(b, `,"accountId":`...), accountID)
	b = appendAccountRef(b, result.AccountBalances)
	b, err := appendBalances(b, result.Balances)
	return append(appendFreshness(b, "freshness", result.Freshness), "}\n"...), err
}

// appendBalances appends the member balances. It fails if a balance's time cannot be encoded.
func appendBalances(b []byte, balances []canonical.Balance) (_ []byte, err error) {
	b = append(b, `,"balances":[`...)
	for i, balance := range balances {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = balance.AppendJSON(b); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}

// maxFrame is about how many bytes a body has besides its accounts or balances, and maxBalance how
// many one balance has.
const maxFrame, maxBalance = 448, 224

// appendASPSP appends the beginning of a body.
func appendASPSP(b []byte, a gateway.ASPSPInfo) []byte {
	b = canonical.AppendString(append(b, `{"aspspId":`...), a.ID)
	return canonical.AppendString(append(b, `,"provider":`...), a.Provider)
}

// appendAccountRef appends how a balances response identifies its account: by the IBAN if there is
// one. It appends nothing if the provider gave no identification and no name.
func appendAccountRef(b []byte, of canonical.AccountBalances) []byte {
	separator := `,"account":{`
	member := func(name, value string) {
		b = append(append(b, separator...), name...)
		b = canonical.AppendString(b, value)
		separator = ","
	}
	id := of.Identification
	switch iban := id.IBAN(); {
	case iban != "":
		member(`"iban":`, iban)
	case id != canonical.Identification{}:
		member(`"identification":{"scheme":`, string(id.Scheme))
		member(`"value":`, id.Value)
		b = append(b, '}')
	}
	if of.Name != "" {
		member(`"name":`, of.Name)
	}
	if separator == "," {
		b = append(b, '}')
	}
	return b
}

// appendFreshness appends a freshness as the member name. Seconds have a fraction only if the time
// has one.
func appendFreshness(b []byte, name string, f gateway.Freshness) []byte {
	b = append(append(append(b, `,"`...), name...), `":{"source":`...)
	b = canonical.AppendString(b, string(f.Source))
	b = append(b, `,"fetchedAt":"`...)
	b = f.FetchedAt.Truncate(time.Millisecond).UTC().AppendFormat(b, time.RFC3339Nano)
	b = strconv.AppendInt(append(b, `","ageSeconds":`...), wholeAge(f), 10)
	b = strconv.AppendBool(append(b, `,"stale":`...), f.Stale)
	if f.StaleReason != gateway.NoReason {
		b = canonical.AppendString(append(b, `,"staleReason":`...), string(f.StaleReason))
	}
	return append(b, '}')
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

// formatTime returns t in UTC by RFC 3339. Seconds have a fraction only if t has one.
func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// JSON encodes a body without escapes for HTML.
func JSON(v any) ([]byte, error) {
	body, err := canonical.Encode(v)
	return append(body, '\n'), err
}
