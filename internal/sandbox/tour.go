package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/providers/obie/obiesim"
)

// psu is a user's address, from a range reserved for documentation (RFC 5737).
const psu = "203.0.113.7"

// Tour sends example requests to the gateway at the base URL api, and writes the requests and
// responses. It returns an error at the first unexpected response.
func (s *Sandbox) Tour(ctx context.Context, w io.Writer, api string) error {
	t := &tour{
		Writer: w, api: api, callLog: s.CallLog.Calls, client: &http.Client{Timeout: 10 * time.Second},
		wood: access{mastercardsim.WoodBank, mastercardsim.FreshConsent + uuid.NewString(), ""},
	}
	obieConsent := uuid.NewString()
	t.banks = []tourBank{
		{"Wood Bank", t.wood, mastercardsim.Account},
		{"myPOS", access{MyPOS, uuid.NewString(), mypossim.GoodToken}, mypossim.GoodAccount},
		{"Elm Bank", access{ElmBank, uuid.NewString(), ""}, berlingroupsim.GoodAccount},
		{"Kingfisher Bank", access{KingfisherBank, obieConsent, obiesim.Token(obieConsent)}, obiesim.GoodAccount},
	}
	for i, step := range []struct {
		title string
		show  func(context.Context) error
	}{
		{"Four banks' accounts, of four protocols, in one format", t.accounts},
		{"Balances: exact, with sign, and with the bank's own word beside the ISO 20022 code", t.balances},
		{"The list again: from the cache, without a call to the bank", t.cacheHit},
		{"Four calls without the user present, and the fifth is stopped before it leaves", t.fifthCall},
		{"With the user present the bank may always be called", t.attended},
		{"A consent that has run out: whose fault it is, and what to do", t.consentError},
		{"All banks in one request: what each call cost, and what is missing", t.aggregation},
	} {
		fmt.Fprintf(t, "\n%d. %s\n\n", i+1, step.title)
		if err := step.show(ctx); err != nil {
			return fmt.Errorf("step %d of the tour failed: %w", i+1, err)
		}
	}
	fmt.Fprintf(t, "\nAll steps passed. Try it yourself: gateway sandbox\n")
	return nil
}

type tour struct {
	io.Writer
	api     string
	client  *http.Client
	callLog func() []aspspsim.Call
	wood    access
	banks   []tourBank // one of each protocol, Wood Bank first
}

// tourBank is an ASPSP of the tour with an account of its consent.
type tourBank struct {
	name string
	access
	account string
}

// access is a consent at an ASPSP, with the user's token if the provider requires one.
type access struct{ aspsp, consent, token string }

// response is a response of the gateway. Its body has the fields of all responses that the tour
// uses.
type response struct {
	status int
	header http.Header
	body   struct {
		Accounts []map[string]any
		Balances []struct {
			Type, ProviderType, CreditDebitIndicator string
			Amount                                   struct{ Value, Currency string }
		}
		Code, Origin, Action, Detail string
		Freshness                    struct{ Source string }
	}
}

func (t *tour) get(ctx context.Context, a access, path string, header ...string) (response, error) {
	target := t.api + "/v1/aspsps/" + a.aspsp + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return response{}, err
	}
	req.Header.Set("X-API-Key", Key)
	req.Header.Set("Consent-ID", a.consent)
	if a.token != "" {
		req.Header.Set("Provider-Authorization", "Bearer "+a.token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	got := response{status: resp.StatusCode, header: resp.Header}
	if err := json.NewDecoder(resp.Body).Decode(&got.body); err != nil {
		return response{}, fmt.Errorf("GET %s: %w", path, err)
	}
	fmt.Fprintf(t, "   GET /v1/aspsps/…%s%s\n", a.aspsp[len(a.aspsp)-4:], path)
	for i := 0; i+1 < len(header); i += 2 {
		fmt.Fprintf(t, "   %s: %s\n", header[i], header[i+1])
	}
	fmt.Fprintf(t, "   %d%s\n", got.status, statusHeaders(got.header))
	return got, nil
}

// printProblem writes the fields of an error response.
func (t *tour) printProblem(a response) {
	fmt.Fprintf(t, "   code %s, origin %s, action %s\n   detail: %s\n", a.body.Code, a.body.Origin, a.body.Action, a.body.Detail)
}

// statusHeaders formats the response headers about the cache and the limit.
func statusHeaders(h http.Header) string {
	var b strings.Builder
	for _, name := range []string{"Cache-Status", "RateLimit", "Retry-After"} {
		if value := h.Get(name); value != "" {
			b.WriteString("  " + name + ": " + value)
		}
	}
	return b.String()
}

// accounts shows the account lists of all ASPSPs of the tour in one table.
func (t *tour) accounts(ctx context.Context) error {
	table := tabwriter.NewWriter(t, 0, 0, 2, ' ', 0)
	var rows []string
	for _, bank := range t.banks {
		name := bank.name
		got, err := t.get(ctx, bank.access, "/accounts")
		if err != nil {
			return err
		}
		if got.status != http.StatusOK || len(got.body.Accounts) < 2 || got.body.Freshness.Source != "provider" {
			return fmt.Errorf("%s: status %d with %d accounts", name, got.status, len(got.body.Accounts))
		}
		for _, account := range got.body.Accounts {
			number, ok := account["identification"].(map[string]any)
			if !ok || account["accountId"] == nil || account["type"] == nil {
				return fmt.Errorf("%s: an account without accountId, identification or type", name)
			}
			currency := account["currency"]
			if currency == nil {
				currency = "-" // the bank named none, or several
			}
			rows = append(rows, fmt.Sprintf("   %s\t%v\t%v\t%v\t%v\t%v", name, account["accountId"], number["scheme"],
				number["value"], currency, account["type"]))
		}
	}
	slices.Sort(rows)
	fmt.Fprintln(t)
	fmt.Fprintln(table, "   bank\taccountId\tscheme\tnumber\tcurrency\ttype")
	fmt.Fprintln(table, strings.Join(rows, "\n"))
	return table.Flush()
}

// balances shows the balances of an account of each ASPSP, including a debit balance.
func (t *tour) balances(ctx context.Context) error {
	debits := 0
	for _, one := range t.banks {
		got, err := t.get(ctx, one.access, "/accounts/"+url.PathEscape(one.account)+"/balances")
		if err != nil {
			return err
		}
		if got.status != http.StatusOK || len(got.body.Balances) < 2 {
			return fmt.Errorf("status %d with %d balances", got.status, len(got.body.Balances))
		}
		table := tabwriter.NewWriter(t, 0, 0, 2, ' ', tabwriter.AlignRight)
		for _, b := range got.body.Balances {
			if negative := strings.HasPrefix(b.Amount.Value, "-"); negative != (b.CreditDebitIndicator == "DBIT") {
				return fmt.Errorf("%s is %s", b.Amount.Value, b.CreditDebitIndicator)
			} else if negative {
				debits++
			}
			fmt.Fprintf(table, "      %s\t%s\t%s\t%s\t%s\t\n", b.Amount.Value, b.Amount.Currency, b.CreditDebitIndicator, b.Type, b.ProviderType)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if debits == 0 {
		return fmt.Errorf("no debit among the balances")
	}
	return nil
}

// cacheHit shows that a recently fetched list needs no call.
func (t *tour) cacheHit(ctx context.Context) error {
	before := len(t.callLog())
	got, err := t.get(ctx, t.wood, "/accounts")
	if err != nil {
		return err
	}
	if status := got.header.Get("Cache-Status"); !strings.HasPrefix(status, "ais-gateway; hit; ttl=") || got.body.Freshness.Source != "cache" {
		return fmt.Errorf("Cache-Status is %q, the source %q", status, got.body.Freshness.Source)
	}
	if reached := len(t.callLog()) - before; reached != 0 {
		return fmt.Errorf("%d calls reached the bank", reached)
	}
	fmt.Fprintln(t, "   calls that reached the bank: 0")
	return nil
}

// fifthCall shows the unattended limit, and that the ASPSP received four calls.
func (t *tour) fifthCall(ctx context.Context) error {
	fresh := access{mastercardsim.WoodBank, mastercardsim.FreshConsent + uuid.NewString(), ""}
	var last response
	for i := range 5 {
		got, err := t.get(ctx, fresh, "/accounts/"+mastercardsim.Account+"/balances")
		if err != nil {
			return err
		}
		if i < 4 && got.status != http.StatusOK {
			return fmt.Errorf("call %d: status %d", i+1, got.status)
		}
		last = got
	}
	if last.status != http.StatusTooManyRequests || last.body.Code != "UNATTENDED_LIMIT" || last.body.Origin != "gateway" {
		return fmt.Errorf("the fifth call: status %d, code %s, origin %s", last.status, last.body.Code, last.body.Origin)
	}
	reached := 0
	for _, c := range t.callLog() {
		if c.Consent == fresh.consent {
			reached++
		}
	}
	t.printProblem(last)
	fmt.Fprintf(t, "   calls that reached the bank: %d\n", reached)
	if reached != 4 {
		return fmt.Errorf("%d calls reached the bank", reached)
	}
	t.wood = fresh // the next step uses the consent without slots
	return nil
}

// attended shows that the limit does not apply to attended requests.
func (t *tour) attended(ctx context.Context) error {
	got, err := t.get(ctx, t.wood, "/accounts/"+mastercardsim.Account+"/balances", "PSU-IP-Address", psu)
	if err != nil {
		return err
	}
	if got.status != http.StatusOK || len(got.body.Balances) == 0 {
		return fmt.Errorf("the attended call: status %d, code %s", got.status, got.body.Code)
	}
	return nil
}

// consentError shows an error that requires action of the user.
func (t *tour) consentError(ctx context.Context) error {
	got, err := t.get(ctx, access{mastercardsim.WoodBank, mastercardsim.ConsentExpired, ""}, "/accounts", "PSU-IP-Address", psu)
	if err != nil {
		return err
	}
	t.printProblem(got)
	if got.status != http.StatusForbidden || got.body.Code != "CONSENT_EXPIRED" || got.body.Origin != "provider" || got.body.Action != "renew_consent" {
		return fmt.Errorf("status %d, code %s, origin %s, action %s", got.status, got.body.Code, got.body.Origin, got.body.Action)
	}
	return nil
}

// aggregation shows the accounts and balances of all ASPSPs in one request. Wood Bank's consent has
// no slots left.
func (t *tour) aggregation(ctx context.Context) error {
	t.banks[0].access = t.wood
	sources := make([]map[string]string, len(t.banks))
	for i, bank := range t.banks {
		sources[i] = map[string]string{"ref": bank.name, "aspspId": bank.aspsp, "consentId": bank.consent}
		if bank.token != "" {
			sources[i]["providerAuthorization"] = "Bearer " + bank.token
		}
	}
	got, err := t.aggregate(ctx, map[string]any{"sources": sources, "include": []string{"balances"}, "allowPartial": true})
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(t, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\n   bank\toutcome\taccounts\twith balances\tspent\tleft\tmissing because")
	for _, s := range got.Sources {
		read, why := 0, cmp.Or(s.Problem.Code, "-")
		for _, a := range s.Accounts {
			if a.Balances != nil {
				read++
			} else {
				why = a.BalancesProblem.Code
			}
		}
		fmt.Fprintf(table, "   %s\t%s\t%d\t%d\t%d\t%d\t%s\n", s.Ref, s.Outcome, len(s.Accounts), read, s.Cost.Spent, s.Unattended.Remaining, why)
		skipped := s.Index == 0 && s.Outcome == "skipped" && why == "UNATTENDED_LIMIT"
		if !skipped && (s.Outcome != "ok" && s.Outcome != "partial" || read == 0) {
			return fmt.Errorf("%s: outcome %s with %d balances, problem %s", s.Ref, s.Outcome, read, why)
		}
	}
	return table.Flush()
}

// aggregationResult is the part of an aggregation's response that the tour shows.
type aggregationResult struct {
	Sources []struct {
		Index        int
		Ref, Outcome string
		Cost         struct{ Spent int }
		Unattended   struct{ Remaining int }
		Problem      struct{ Code string }
		Accounts     []struct {
			Balances        []any
			BalancesProblem struct{ Code string }
		}
	}
}

func (t *tour) aggregate(ctx context.Context, body any) (got aggregationResult, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return got, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.api+"/v1/aggregations", bytes.NewReader(text))
	if err != nil {
		return got, err
	}
	req.Header.Set("X-API-Key", Key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := t.client.Do(req)
	if err != nil {
		return got, err
	}
	defer resp.Body.Close()
	fmt.Fprintf(t, "   POST /v1/aggregations\n   %d\n", resp.StatusCode)
	return got, json.NewDecoder(resp.Body).Decode(&got)
}
