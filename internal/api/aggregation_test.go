package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/api"
	"ais-gateway/internal/auth"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/event"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/unattended"
)

var ndjson = header{"Accept", "application/x-ndjson"}

// sources returns a body with sources of the bank, each with one of the consents, and other members.
func sources(members string, consents ...string) string {
	var all []string
	for _, c := range consents {
		all = append(all, `{"aspspId":"`+bank+`","consentId":"`+c+`"}`)
	}
	return `{"sources":[` + strings.Join(all, ",") + `]` + members + `}`
}

// answering returns a fake whose aggregations have these results, in their order.
func answering(results ...aggregation.SourceResult) *fake {
	f := good()
	f.aggregate = func(_ context.Context, r aggregation.Request, ready func(aggregation.SourceResult)) (aggregation.Result, error) {
		var result aggregation.Result
		for i, s := range results {
			s.Index, s.Ref, s.ASPSP, s.RequestID, s.Attended = i, r.Sources[i].Ref, r.Sources[i].Query.ASPSP, r.Sources[i].Query.RequestID, r.Sources[i].Query.Attended()
			ready(s)
			result.Sources = append(result.Sources, s)
		}
		return result, nil
	}
	return f
}

// failed returns the result of a source that failed.
func failed(o aggregation.Outcome, e canonical.Error) aggregation.SourceResult {
	if e.Origin == "" {
		e.Origin = canonical.OriginGateway
	}
	return aggregation.SourceResult{Provider: "mastercard", Outcome: o, Failure: &e}
}

// derived returns the request id of a source of the request theirID.
func derived(i int) string {
	return uuid.NewSHA1(uuid.MustParse(theirID), fmt.Appendf(nil, "sources/%d/accounts", i)).String()
}

func TestAggregationInFull(t *testing.T) {
	const iban = "BG80BNBG96611020345678"
	fetched := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	fresh := gateway.Freshness{Source: gateway.FromProvider, FetchedAt: fetched}
	stale := gateway.Freshness{Source: gateway.FromCache, FetchedAt: fetched, Age: time.Hour, Stale: true, StaleReason: gateway.StaleByLimit}
	one, two := 1, 2
	account := func(id, iban, currency string) aggregation.Account {
		return aggregation.Account{ID: id, IBAN: iban, Currency: currency, JSON: json.RawMessage(`{"accountId":"` + id + `","type":"OTHR"}`)}
	}
	with := func(a aggregation.Account, change func(*aggregation.Account)) aggregation.Account {
		a.Selected = true
		change(&a)
		return a
	}
	balance := canonical.Balance{Type: canonical.InterimAvailable, Amount: parse(t, "4.200", "PLN")}
	limit := canonical.Error{
		Kind: canonical.UnattendedLimit, Origin: canonical.OriginGateway, RetryAfter: time.Hour, Slots: &canonical.SlotNeed{Needed: 2, Remaining: 1},
	}
	f := answering(
		aggregation.SourceResult{
			Provider: "mastercard", Outcome: aggregation.OK, Freshness: fresh, Cost: aggregation.Cost{Min: 1, Max: &two, Spent: 2},
			Usage: &unattended.Usage{Limit: 4, Used: 2, Remaining: 2, Wait: time.Hour, NextAt: fetched},
			Accounts: []aggregation.Account{
				with(account("a/1", iban, "EUR"), func(a *aggregation.Account) {
					a.Balances, a.Freshness = []canonical.Balance{balance}, fresh
				}),
				account("2", iban, "USD"),
				with(account("3", iban, ""), func(a *aggregation.Account) { a.Balances, a.Freshness = []canonical.Balance{}, fresh }),
			},
		},
		aggregation.SourceResult{
			Provider: "mastercard", Outcome: aggregation.Partial, Freshness: stale, Cost: aggregation.Cost{Min: 1, Max: &one},
			Usage: &unattended.Usage{Limit: 4, Used: 4, Wait: time.Hour, NextAt: fetched.Add(time.Hour + 1)},
			Accounts: []aggregation.Account{
				with(account("4", iban, "EUR"), func(a *aggregation.Account) { a.Failure = &limit }),
				with(account("5", iban, ""), func(a *aggregation.Account) { a.Failure = canonical.NewError(canonical.NotInTime, "") }),
				account("6", "", "EUR"), // as account 8 of the last source: nothing says that they are the same
			},
			Missing: []aggregation.Missing{{ID: "7", Failure: canonical.NewError(canonical.AccountUnknown, "")}},
		},
		aggregation.SourceResult{Provider: "mastercard", Outcome: aggregation.Skipped, Failure: &limit},
		aggregation.SourceResult{Outcome: aggregation.Failed, Failure: canonical.NewError(canonical.ASPSPUnknown, "")},
		aggregation.SourceResult{Provider: "mastercard", Outcome: aggregation.OK, Freshness: fresh, Accounts: []aggregation.Account{account("8", "", "EUR")}},
	)
	opened := func() *site {
		return open(t, f, func(c *api.Config) { c.Now, c.Observer = func() time.Time { return fetched }, &observer{} })
	}
	body := strings.Replace(sources(`,"include":["balances"]`, "1", "2", "3", "4", "5"), bank+`","consentId":"4`, stranger+`","consentId":"4`, 1)
	got := opened().post(t, body, apiKey, header{"X-Request-ID", theirID})
	const (
		shownFresh = `{"source":"provider","fetchedAt":"2026-11-20T10:00:00Z","ageSeconds":0,"stale":false}`
		present    = " Until then call only while the user is present, with `PSU-IP-Address`."
	)
	problem := func(i int, code, rest string) string {
		id := bank + `","provider":"mastercard`
		if i == 3 {
			id = stranger
		}
		return `{"type":"/problems/` + strings.ReplaceAll(strings.ToLower(code), "_", "-") + `",` + fmt.Sprintf(rest, code, "gateway") +
			`"requestId":"` + derived(i) + `","traceId":"` + traceID + `","aspspId":"` + id + `"`
	}
	limitProblem := func(i int) string {
		return problem(i, "UNATTENDED_LIMIT", `"title":"Unattended limit reached","status":429,"detail":"This read needs 2 unattended calls, and 1 of 4 are left `+
			`for this consent. Enough calls are free at 2026-11-20T11:00:00Z.`+present+`","code":"%s","origin":"%s","retryable":true,"action":"retry_attended",`+
			`"retryAfterSeconds":3600,`) + `,"needed":2,"remaining":1}`
	}
	source := func(i int, outcome, rest string) string {
		id := bank + `","provider":"mastercard`
		if i == 3 {
			id = stranger
		}
		return fmt.Sprintf(`{"index":%d,"ref":"%d","aspspId":"%s","outcome":"%s","requestId":"%s",%s}`, i, i, id, outcome, derived(i), rest)
	}
	want := []string{
		source(0, "ok", `"freshness":`+shownFresh+`,"cost":{"min":1,"max":2,"spent":2},"unattended":{"limit":4,"remaining":2,"nextSlotAt":null},`+
			`"accounts":[{"accountId":"a/1","type":"OTHR","sameAs":[{"index":1,"accountId":"4"}],"balances":[{"type":"ITAV",`+
			`"amount":{"value":"4.20","currency":"PLN"},"creditDebitIndicator":"CRDT","referenceDateTime":null}],"balancesFreshness":`+shownFresh+`},`+
			`{"accountId":"2","type":"OTHR"},{"accountId":"3","type":"OTHR","balances":[],"balancesFreshness":`+shownFresh+`}]`),
		source(1, "partial", `"freshness":{"source":"cache","fetchedAt":"2026-11-20T10:00:00Z","ageSeconds":3600,"stale":true,"staleReason":"unattended_limit"},`+
			`"cost":{"min":1,"max":1,"spent":0},"unattended":{"limit":4,"remaining":0,"nextSlotAt":"2026-11-20T11:00:01Z"},`+
			`"accounts":[{"accountId":"4","type":"OTHR","sameAs":[{"index":0,"accountId":"a/1"}],"balances":null,"balancesProblem":`+limitProblem(1)+`},`+
			`{"accountId":"5","type":"OTHR","balances":null,"balancesProblem":`+
			problem(1, "NOT_IN_TIME", `"title":"Not finished in time","status":504,"detail":"The wait time ended before the provider responded. The call `+
				"continues; repeat with the same `Idempotency-Key`."+`","code":"%s","origin":"%s","retryable":true,"action":"retry_later",`)+`}},`+
			`{"accountId":"6","type":"OTHR"}],"missingAccounts":[{"accountId":"7","problem":`+
			problem(1, "ACCOUNT_UNKNOWN", `"title":"Account not covered by the consent","status":404,"detail":"Read the account list again. If the account is no `+
				`longer in it, ask the user for a new consent.","code":"%s","origin":"%s","retryable":false,"action":"refresh_accounts",`)+`}}]`),
		source(2, "skipped", `"cost":{"min":0,"max":null,"spent":0},"unattended":{"limit":4,"remaining":0,"nextSlotAt":null},"accounts":[],"problem":`+limitProblem(2)),
		source(3, "failed", `"cost":{"min":0,"max":null,"spent":0},"accounts":[],"problem":`+
			problem(3, "ASPSP_UNKNOWN", `"title":"Unknown ASPSP","status":404,"detail":"No ASPSP with this id is configured. `+"`GET /v1/aspsps`"+` lists them.",`+
				`"code":"%s","origin":"%s","retryable":false,"action":"fix_request",`)+`}`),
		source(4, "ok", `"freshness":`+shownFresh+`,"cost":{"min":0,"max":null,"spent":0},"unattended":{"limit":4,"remaining":0,"nextSlotAt":null},`+
			`"accounts":[{"accountId":"8","type":"OTHR"}]`),
	}
	outcomes := `"outcomes":{"ok":2,"stale":0,"partial":1,"failed":1,"skipped":1}`
	if diff := cmp.Diff(`{"complete":false,"fresh":false,`+outcomes+`,"sources":[`+strings.Join(want, ",")+"]}\n", got.body); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got.status != http.StatusOK || got.header.Get("RateLimit") != "" || got.header.Get("Cache-Status") != "" || got.header.Get("Preference-Applied") != "" {
		t.Errorf("%d %v", got.status, got.header)
	}

	streamed := opened().post(t, body, apiKey, header{"X-Request-ID", theirID}, ndjson)
	want[0] = strings.Replace(want[0], `"sameAs":[{"index":1,"accountId":"4"}],`, "", 1) // refers to earlier lines only
	lines := ""
	for _, line := range want {
		lines += `{"source":` + line + "}\n"
	}
	lines += `{"summary":{"complete":false,"fresh":false,` + outcomes + `,"satisfied":true}}` + "\n"
	if diff := cmp.Diff(lines, streamed.body); diff != "" {
		t.Errorf("the stream: -want +got:\n%s", diff)
	}
	if h := streamed.header; streamed.status != http.StatusOK || h.Get("Content-Type") != "application/x-ndjson" || h.Get("X-Accel-Buffering") != "no" {
		t.Errorf("the stream: %d %v", streamed.status, h)
	}
}

// TestSummary: what a stream and a body say of all sources together.
func TestSummary(t *testing.T) {
	fresh := aggregation.SourceResult{Provider: "mastercard", Outcome: aggregation.OK, Freshness: good().list.Freshness, Accounts: []aggregation.Account{}}
	for _, tt := range []struct {
		result          aggregation.SourceResult
		fresh, complete string
	}{
		{fresh, "true", "true"},
		{failed("failed", canonical.Error{Kind: canonical.ProviderError}), "true", "false"},
	} {
		s := open(t, answering(tt.result))
		got := s.post(t, sources("", "1"), apiKey)
		if got := member(t, got.body, "fresh") + member(t, got.body, "complete"); got != tt.fresh+tt.complete {
			t.Errorf("fresh and complete are %s", got)
		}
		lines := s.post(t, sources("", "1"), apiKey, header{"Accept", "application/x-ndjson"})
		if want := `"satisfied":` + tt.complete; !strings.Contains(lines.body, `{"summary":`) || !strings.Contains(lines.body, want) {
			t.Errorf("%s, want %s", lines.body, want)
		}
	}
}

// TestAttendedAggregation checks that an attended source has no unattended usage, and what the
// aggregator gets.
func TestAttendedAggregation(t *testing.T) {
	s := open(t, good())
	got := s.post(t, sources("", "1", "2"), apiKey, attended, header{"TPP-Customer-ID", "c"}, header{"Cache-Control", "max-age=5"},
		header{"Prefer", "wait=90"}, header{"Idempotency-Key", "k-1"}, header{"X-Request-ID", theirID}, consent)
	if got.status != http.StatusOK || strings.Contains(got.body, "unattended") || got.header.Get("Preference-Applied") != "wait=60" {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	r := s.gateway.asked[0].aggregation
	if r.Client != "all" || r.RequestID != theirID || r.Key != "k-1" || r.Wait != time.Minute || *r.Control.MaxAge != 5*time.Second || r.Fingerprint == "" {
		t.Errorf("%+v", r)
	}
	for i, source := range r.Sources {
		q := source.Query
		if q.Consent != fmt.Sprint(i+1) || q.Token != "" || !q.Attended() || q.Customer != "c" || q.ASPSP != bank || q.RequestID != derived(i) {
			t.Errorf("source %d: %+v", i, q)
		}
	}
}

// TestAggregationFailed checks the advice of a failed aggregation from the problems in it.
func TestAggregationFailed(t *testing.T) {
	limit := func(wait time.Duration) canonical.Error {
		return canonical.Error{Kind: canonical.UnattendedLimit, RetryAfter: wait}
	}
	of := func(k canonical.Kind) canonical.Error { return canonical.Error{Kind: k} }
	partial := aggregation.SourceResult{
		Provider: "mastercard", Outcome: aggregation.Partial, Freshness: good().list.Freshness,
		Accounts: []aggregation.Account{{ID: "1", JSON: json.RawMessage(`{"accountId":"1","type":"OTHR"}`), Selected: true, Failure: canonical.NewError(canonical.CounterUnavailable, "")}},
	}
	stale, missing := partial, partial
	stale.Outcome, stale.Accounts = aggregation.Stale, nil
	missing.Accounts, missing.Missing = nil, []aggregation.Missing{{ID: "7", Failure: canonical.NewError(canonical.AccountUnknown, "")}}
	never := canonical.Error{Kind: canonical.UnattendedLimit, RetryAfter: time.Hour, Slots: &canonical.SlotNeed{Needed: 5, Remaining: 4}}
	for _, tt := range []struct {
		name    string
		require string
		results []aggregation.SourceResult
		status  int
		action  string
		wait    string
	}{
		{"one of two", "any", []aggregation.SourceResult{partial, failed("failed", of(canonical.ProviderError))}, 200, "", ""},
		{"not all", "all", []aggregation.SourceResult{partial}, 502, "retry_attended", "5"},
		{"they agree", "any", []aggregation.SourceResult{failed("skipped", limit(time.Minute)), failed("skipped", limit(time.Hour))}, 502, "retry_attended", "3600"},
		{"one cannot wait", "any", []aggregation.SourceResult{failed("skipped", limit(time.Minute)), failed("skipped", limit(0))}, 502, "retry_attended", ""},
		{"the first cannot wait", "any", []aggregation.SourceResult{failed("skipped", limit(0)), failed("skipped", limit(time.Minute))}, 502, "retry_attended", ""},
		{"user or time", "any", []aggregation.SourceResult{failed("failed", of(canonical.ProviderUnavailable)), failed("skipped", limit(time.Second))}, 502, "retry_attended", "30"},
		{"not in time", "any", []aggregation.SourceResult{failed("failed", of(canonical.NotInTime))}, 502, "retry_later", ""},
		{"support before the user", "any", []aggregation.SourceResult{failed("skipped", limit(time.Minute)), failed("failed", of(canonical.ProviderRejected))}, 502, "contact_support", ""},
		{"stale is complete", "all", []aggregation.SourceResult{stale}, 200, "", ""},
		{"a missing account", "all", []aggregation.SourceResult{missing}, 502, "refresh_accounts", ""},
		{"support before time", "any", []aggregation.SourceResult{failed("failed", of(canonical.ProviderUnavailable)), failed("failed", of(canonical.ProviderRejected))}, 502, "contact_support", ""},
		{"consent before support", "any", []aggregation.SourceResult{failed("failed", of(canonical.ProviderRejected)), failed("failed", of(canonical.ConsentExpired))}, 502, "renew_consent", ""},
		{"list before consent", "any", []aggregation.SourceResult{failed("failed", of(canonical.ConsentExpired)), failed("failed", of(canonical.AccountUnknown))}, 502, "refresh_accounts", ""},
		{"request before list", "any", []aggregation.SourceResult{failed("failed", of(canonical.AccountUnknown)), failed("failed", of(canonical.NotCached))}, 502, "fix_request", ""},
		{"can never fit", "any", []aggregation.SourceResult{failed("skipped", never)}, 502, "fix_request", ""},
		{"of a later version", "any", []aggregation.SourceResult{failed("failed", of("KIND_OF_A_LATER_VERSION"))}, 502, "contact_support", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, answering(tt.results...))
			got := s.post(t, sources(`,"require":"`+tt.require+`"`, []string{"1", "2"}[:len(tt.results)]...), apiKey, header{"X-Request-ID", theirID})
			p := got.problem()
			if got.status != tt.status || p.Action != tt.action || got.header.Get("Retry-After") != tt.wait {
				t.Errorf("%d, action %q, Retry-After %q", got.status, p.Action, got.header.Get("Retry-After"))
			}
			if got.status != http.StatusBadGateway {
				return
			}
			if seconds := fmt.Sprint(p.RetryAfterSeconds); p.Code != "AGGREGATION_FAILED" || p.Origin != "gateway" || p.RequestID != theirID ||
				p.Retryable != strings.HasPrefix(tt.action, "retry_") || strings.TrimPrefix(seconds, "0") != tt.wait {
				t.Errorf("%+v", p)
			}
			if member(t, got.body, "complete") != "false" || member(t, got.body, "outcomes") == "" || !strings.HasPrefix(member(t, got.body, "sources"), `[{"index":0,`) {
				t.Errorf("%s", got.body)
			}
			if line := s.lines(t)[0]; line["code"] != "AGGREGATION_FAILED" || line["status"] != 502. {
				t.Errorf("logged %v", line)
			}
		})
	}
}

// TestNeedBeyondTheLimit checks the problem of a source whose cost exceeds the limit: waiting cannot
// help, but other requests can.
func TestNeedBeyondTheLimit(t *testing.T) {
	for needed, beyond := range map[int]bool{4: false, 5: true} {
		e := canonical.Error{Kind: canonical.UnattendedLimit, RetryAfter: time.Minute, Slots: &canonical.SlotNeed{Needed: needed, Remaining: 3}}
		got := open(t, answering(failed("skipped", e))).post(t, sources("", "1"), apiKey)
		var body struct{ Sources []struct{ Problem problem } }
		if err := json.Unmarshal([]byte(got.body), &body); err != nil {
			t.Fatal(err)
		}
		p := body.Sources[0].Problem
		if (p.Action == "fix_request") != beyond || p.Retryable == beyond || (p.RetryAfterSeconds == 0) != beyond {
			t.Errorf("%d slots: %+v", needed, p)
		}
		for _, alternative := range []string{"`allowPartial`", "`accountIds`", "`PSU-IP-Address`"} {
			if beyond && !strings.Contains(p.Detail, alternative) {
				t.Errorf("%s does not name %s", p.Detail, alternative)
			}
		}
	}
}

// TestDryRun checks that a dry run is the plan, with status 200 whatever it says, and never a stream.
func TestDryRun(t *testing.T) {
	three := 3
	f := answering(
		aggregation.SourceResult{Provider: "mastercard", Cost: aggregation.Cost{Min: 1, Max: &three}, Usage: &unattended.Usage{Limit: 4, Remaining: 4}},
		failed("", canonical.Error{Kind: canonical.CounterUnavailable}),
	)
	s := open(t, f)
	for _, accept := range []header{{"Accept", "*/*"}, ndjson} {
		got := s.post(t, sources(`,"dryRun":true,"require":"all"`, "1", "2"), apiKey, accept, header{"X-Request-ID", theirID})
		want := `{"sources":[{"index":0,"ref":"0","aspspId":"` + bank + `","provider":"mastercard","cost":{"min":1,"max":3},` +
			`"unattended":{"limit":4,"remaining":4,"nextSlotAt":null}},{"index":1,"ref":"1","aspspId":"` + bank + `","provider":"mastercard",` +
			`"cost":{"min":0,"max":null},"unattended":{"limit":4,"remaining":0,"nextSlotAt":null},"problem":{"type":"/problems/counter-unavailable",` +
			`"title":"Unattended calls unavailable","status":503,"detail":"Unattended calls cannot be counted at the moment, so none are made. Calls with ` +
			`the user present still work.","code":"COUNTER_UNAVAILABLE","origin":"gateway","retryable":true,"action":"retry_attended","retryAfterSeconds":5,` +
			`"requestId":"` + derived(1) + `","aspspId":"` + bank + `","provider":"mastercard"}}]}` + "\n"
		if diff := cmp.Diff(want, got.body); diff != "" || got.status != http.StatusOK {
			t.Errorf("%d: %s", got.status, diff)
		}
	}
}

func TestReplayedAggregation(t *testing.T) {
	f, kept := good(), make(auditor, 2)
	f.aggregate = func(_ context.Context, r aggregation.Request, _ func(aggregation.SourceResult)) (aggregation.Result, error) {
		return aggregation.Result{Sources: []aggregation.SourceResult{f.source(r, 0)}, Replayed: true}, nil
	}
	s := open(t, f, func(c *api.Config) { c.Auditor = kept })
	if got := s.post(t, oneSource, apiKey, header{"Idempotency-Key", "k"}); got.header.Get("Cache-Status") != "ais-gateway; hit; detail=replayed" {
		t.Errorf("%v", got.header)
	}
	<-kept
	if e := <-kept; e.Outcome != "ok" || e.Slots != 0 {
		t.Errorf("the record of a source that took no slot now: %+v", e)
	}
	got := s.post(t, oneSource, apiKey, ndjson, header{"Idempotency-Key", "k"}) // ready was not called
	if !strings.HasPrefix(got.body, `{"source":{"index":0,`) || strings.Count(got.body, "\n") != 2 {
		t.Errorf("%s", got.body)
	}
}

// TestAggregationOrder checks the order of all checks, from the last to the first, and that the
// aggregator is called only after all.
func TestAggregationOrder(t *testing.T) {
	faulty, balances := `{"sources":[]}`, sources(`,"include":["balances"]`, "1")
	accountsOnly := header{"X-API-Key", "key-of-accounts"}
	ill := header{"PSU-Device-ID", "x"}
	for _, tt := range []struct {
		name, body string
		headers    []header
		code       string
		faults     []string
	}{
		{"good", oneSource, []header{accountsOnly}, "", nil},
		{"balances without the scope", balances, []header{accountsOnly}, "FORBIDDEN", nil},
		{"a fault before it", balances[:len(balances)-1] + `,"x":1}`, []header{accountsOnly}, "FORMAT_ERROR", []string{"body /x"}},
		{"faults of headers and body", faulty, []header{accountsOnly, ill, {"Idempotency-Key", "a b"}, {"Content-Type", "text/plain"}}, "FORMAT_ERROR", []string{
			"body /sources", "header Content-Type", "header Idempotency-Key", "header PSU-Device-ID", "header PSU-IP-Address",
		}},
		{"no JSON", "{", []header{accountsOnly}, "FORMAT_ERROR", []string{"body "}},
		{"encoded", "\x1f\x8b", []header{accountsOnly, {"Content-Encoding", "gzip"}}, "FORMAT_ERROR", []string{"header Content-Encoding"}},
		{"too large", strings.Repeat(" ", 256<<10) + oneSource, []header{accountsOnly}, "FORMAT_ERROR", []string{"body "}},
		{"forbidden before faults", faulty, []header{{"X-API-Key", noScope}, ill}, "FORBIDDEN", nil},
		{"unauthenticated before faults", faulty, []header{ill}, "UNAUTHENTICATED", nil},
		{"ill credentials before all, and no body", faulty, []header{accountsOnly, accountsOnly, ill}, "FORMAT_ERROR", []string{
			"header PSU-Device-ID", "header PSU-IP-Address", "header X-API-Key",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, good(), func(c *api.Config) {
				c.Callers = auth.New(auth.Config{Now: time.Now, Clients: config.Clients{APIKeys: []config.APIKey{
					{Name: "accounts", SHA256: config.Hashes{digest("key-of-accounts")}, Scopes: []string{config.ScopeAccounts}},
					{Name: "nothing", SHA256: config.Hashes{digest(noScope)}},
				}}})
			})
			got := s.post(t, tt.body, tt.headers...)
			if got.problem().Code != tt.code {
				t.Errorf("%d %s", got.status, got.body)
			}
			if diff := cmp.Diff(tt.faults, got.problem().named()); diff != "" {
				t.Error(diff)
			}
			if called := len(s.gateway.asked) > 0; called != (tt.code == "") {
				t.Errorf("the aggregator was called: %t", called)
			}
			if tt.name == "balances without the scope" && !strings.Contains(got.header.Get("WWW-Authenticate"), `scope="balances:read"`) {
				t.Errorf("%v", got.header)
			}
		})
	}
}

// TestRequirementsOfSources checks that what the provider of a source requires is a fault of the
// body, unless the body has a fault there already.
func TestRequirementsOfSources(t *testing.T) {
	f := good()
	f.missing = []canonical.FieldError{
		{In: "header", Name: "Consent-ID", Detail: "must be a UUID for this ASPSP"},
		{In: "header", Name: "Provider-Authorization", Detail: "is required for this ASPSP"},
	}
	s := open(t, f)
	body := `{"sources":[{"aspspId":"` + bank + `","consentId":"1"},{"aspspId":"` + bank + `","consentId":" ","providerAuthorization":"x"}]}`
	var all []string
	for _, e := range s.post(t, body, apiKey).problem().Errors {
		all = append(all, e.In+" "+e.Name+" "+e.Detail)
	}
	want := []string{
		"body /sources/1/consentId must not begin or end with white space",
		"body /sources/1/providerAuthorization must be `Bearer` followed by a token",
		"body /sources/0/consentId must be a UUID for this ASPSP",
		"body /sources/0/providerAuthorization is required for this ASPSP",
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
}

// TestTokensOfAnAggregation checks how many tokens of the rate limit a request takes.
func TestTokensOfAnAggregation(t *testing.T) {
	const burst = 4
	for name, tt := range map[string]struct {
		body   string
		header header
		tokens int
	}{
		"one source":     {sources("", "1"), header{}, 1},
		"three":          {sources("", "1", "2", "3"), header{}, 3},
		"five":           {sources("", "1", "2", "3", "4", "5"), header{}, burst},
		"faulty":         {`{"sources":[1,2,3]}`, header{}, 3},
		"unreadable":     {`{`, header{}, 1},
		"not to be read": {sources("", "1", "2"), header{"Content-Encoding", "gzip"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, good(), func(c *api.Config) {
				c.Callers = auth.New(auth.Config{Now: func() time.Time { return time.Unix(0, 0) }, Clients: config.Clients{
					APIKeys:   []config.APIKey{{Name: "all", SHA256: config.Hashes{digest(allScope)}, Scopes: []string{config.ScopeAccounts}}},
					RateLimit: &config.RateLimit{PerSecond: 1, Burst: burst},
				}})
			})
			headers := []header{apiKey}
			if tt.header.name != "" {
				headers = append(headers, tt.header)
			}
			if got := s.post(t, tt.body, headers...); got.status == http.StatusTooManyRequests {
				t.Fatalf("%s", got.body)
			}
			left := 0
			for s.do(t, http.MethodGet, "/v1/aspsps", apiKey).status == http.StatusOK {
				left++
			}
			if left != burst-tt.tokens {
				t.Errorf("%d tokens are left of %d", left, burst)
			}
			called := len(s.gateway.asked)
			got := s.post(t, sources("", "1", "2"), apiKey)
			if got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") != "2" || len(s.gateway.asked) != called {
				t.Errorf("without tokens: %d, Retry-After %q", got.status, got.header.Get("Retry-After"))
			}
		})
	}
}

// TestBodyIsNotReadBeyondTheLimit checks that a client at its concurrency limit cannot make the
// gateway read a body: here one that never ends.
func TestBodyIsNotReadBeyondTheLimit(t *testing.T) {
	f := good()
	begun, done := make(chan struct{}), make(chan struct{})
	f.during = func(context.Context) { close(begun); <-done }
	s := open(t, f, func(c *api.Config) { c.PerClient = 1 })
	first := make(chan reply)
	go func() { first <- s.post(t, oneSource, apiKey) }()
	<-begun
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/aggregations HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Type: application/json\r\nContent-Length: 300000\r\n\r\n{", allScope)
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	got, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	got.Body.Close()
	if got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("answered %s", got.Status)
	}
	close(done)
	if got := <-first; got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// reserving is an auditor with space for a number of records.
type reserving struct {
	auditor
	mu   sync.Mutex
	room int
}

func (a *reserving) Reserve(n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n > a.room {
		return false
	}
	a.room -= n
	return true
}

func (a *reserving) Write(ctx context.Context, e event.Request) {
	if e.AuditReserved {
		a.mu.Lock()
		a.room++
		a.mu.Unlock()
	}
	a.auditor.Write(ctx, e)
}

// TestRecordsOfSources checks the audit records of an aggregation: one of the request, and one of each
// source, in every course that a request can take. The space reserved for them is released.
func TestRecordsOfSources(t *testing.T) {
	const room = 4
	no := false
	ended := canonical.NewError(canonical.InternalError, "it is so")
	one := func(f *fake, r aggregation.Request, ready func(aggregation.SourceResult)) {
		s := f.source(r, 1)
		s.Outcome, s.Accounts, s.Failure, s.Cost.Spent = aggregation.Failed, nil, canonical.NewError(canonical.ConsentExpired, "constant"), 2
		ready(s)
		ready(s) // a second time has no effect
	}
	base := event.Request{
		Method: http.MethodPost, Route: aggregations, RequestID: theirID, Client: "all", IdentifiedBy: "api_key", Attended: &no, AuditReserved: true,
	}
	known := func(e event.Request) event.Request {
		e.RequestedASPSP, e.ASPSP, e.Provider, e.Consent, e.Outcome = bank, bank, "mastercard", "two", "failed"
		e.Code, e.Cause, e.Slots = "CONSENT_EXPIRED", "constant", 2
		return e
	}
	unknown := func(e event.Request) event.Request {
		e.RequestedASPSP, e.Consent, e.Outcome = stranger, "one", event.Unfinished
		return e
	}
	with := func(status int, code, cause string) event.Request {
		e := base
		e.Status, e.Code, e.Cause = status, code, cause
		return e
	}
	body := strings.Replace(sources("", "one", "two"), bank, stranger, 1)
	for _, tt := range []struct {
		name    string
		streams bool
		run     func(f *fake, r aggregation.Request, ready func(aggregation.SourceResult)) (aggregation.Result, error)
		want    event.Request // of the request
	}{
		{"failed as a whole", false, func(f *fake, r aggregation.Request, ready func(aggregation.SourceResult)) (aggregation.Result, error) {
			one(f, r, ready)
			return aggregation.Result{}, ended
		}, with(500, "INTERNAL_ERROR", ended.Error())},
		{"panic", false, func(f *fake, r aggregation.Request, ready func(aggregation.SourceResult)) (aggregation.Result, error) {
			one(f, r, ready)
			panic("Maria")
		}, with(500, "INTERNAL_ERROR", "panic")},
		{"failed in a stream", true, func(f *fake, r aggregation.Request, ready func(aggregation.SourceResult)) (aggregation.Result, error) {
			one(f, r, ready)
			return aggregation.Result{}, ended
		}, with(200, "INTERNAL_ERROR", ended.Error())},
		{"panic in a stream", true, func(f *fake, r aggregation.Request, ready func(aggregation.SourceResult)) (aggregation.Result, error) {
			one(f, r, ready)
			panic("Maria")
		}, with(200, "INTERNAL_ERROR", "panic")},
		{"failed before the first line", true, func(*fake, aggregation.Request, func(aggregation.SourceResult)) (aggregation.Result, error) {
			return aggregation.Result{}, ended
		}, with(500, "INTERNAL_ERROR", ended.Error())},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, kept, o := good(), &reserving{auditor: make(auditor, 10), room: room}, &observer{}
			f.aggregate = func(_ context.Context, r aggregation.Request, ready func(aggregation.SourceResult)) (aggregation.Result, error) {
				return tt.run(f, r, ready)
			}
			s := open(t, f, func(c *api.Config) {
				c.Auditor, c.Observer, c.Now = kept, o, func() time.Time { return time.Unix(1, 0) }
			})
			headers := []header{apiKey, {"X-Request-ID", theirID}}
			if tt.streams {
				headers = append(headers, ndjson)
			}
			got := s.post(t, body, headers...)
			if got.status != tt.want.Status {
				t.Errorf("%d %s", got.status, got.body)
			}
			if lines := strings.Split(got.body, "\n"); got.status == 200 && (len(lines) != 3 || !strings.HasPrefix(lines[0], `{"source":`) || !strings.HasPrefix(lines[1], `{"problem":{"type":"/problems/internal-error"`)) {
				t.Errorf("%s", got.body)
			}
			o.outcome(t) // the observer is called last
			tt.want.Start = time.Unix(1, 0)
			want := []event.Request{tt.want, unknown(tt.want), known(tt.want)}
			if tt.name == "failed before the first line" {
				want[2] = unknown(tt.want)
				want[2].RequestedASPSP, want[2].ASPSP, want[2].Provider, want[2].Consent = bank, bank, "mastercard", "two"
			}
			close(kept.auditor)
			var records []event.Request
			for e := range kept.auditor {
				records = append(records, e)
			}
			if diff := cmp.Diff(want, records); diff != "" || kept.room != room {
				t.Errorf("space for %d records of %d; records (-want +got):\n%s", kept.room, room, diff)
			}
			if lines := s.lines(t); strings.Count(s.log.String(), `"msg":"request"`) != 1 || strings.Contains(s.log.String(), "Maria") {
				t.Errorf("logged %v", lines)
			}
		})
	}
	t.Run("no space", func(t *testing.T) {
		f, kept, o := good(), &reserving{auditor: make(auditor, 10), room: 2}, &observer{}
		s := open(t, f, func(c *api.Config) { c.Auditor, c.Observer = kept, o })
		got := s.post(t, body, apiKey)
		if got.problem().Code != "OVERLOADED" || len(f.asked) != 0 || !slices.Equal(o.refused, []string{"audit "}) {
			t.Errorf("%d %s, refused %q", got.status, got.body, o.refused)
		}
		o.outcome(t)
		if len(kept.auditor) != 1 || kept.room != 2 {
			t.Errorf("%d records, space for %d", len(kept.auditor), kept.room)
		}
	})
}

// TestRecordsOfADryRun checks the outcome of its sources.
func TestRecordsOfADryRun(t *testing.T) {
	kept := make(auditor, 3)
	s := open(t, good(), func(c *api.Config) { c.Auditor, c.Observer = kept, &observer{} })
	s.post(t, sources(`,"dryRun":true`, "1", "2"), apiKey)
	if e := <-kept; e.Outcome != "" || e.Route != aggregations || e.Read {
		t.Errorf("%+v", e)
	}
	for range 2 {
		if e := <-kept; e.Outcome != event.Planned || e.Status != 200 {
			t.Errorf("%+v", e)
		}
	}
}

// TestCallerOfAnAggregationLeaves checks that every source has a record if the caller leaves before
// the end, with and without a stream.
func TestCallerOfAnAggregationLeaves(t *testing.T) {
	for _, accept := range []header{{"Accept", "*/*"}, ndjson} {
		t.Run(accept.value, func(t *testing.T) {
			ctx, leave := context.WithCancel(context.Background())
			defer leave()
			f, kept := good(), make(auditor, 3)
			f.aggregate = func(ctx context.Context, r aggregation.Request, ready func(aggregation.SourceResult)) (aggregation.Result, error) {
				ready(f.source(r, 0))
				leave()
				<-ctx.Done()
				return aggregation.Result{}, canonical.NewError(canonical.Canceled, "")
			}
			s := open(t, f, func(c *api.Config) { c.Auditor, c.Observer = kept, &observer{} })
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+aggregations, strings.NewReader(sources("", "1", "2")))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set(apiKey.name, apiKey.value)
			r.Header.Set(accept.name, accept.value)
			r.Header.Set("Content-Type", "application/json")
			if response, err := http.DefaultClient.Do(r); err == nil {
				if text, err := io.ReadAll(response.Body); err == nil {
					t.Errorf("the response seems complete: %s", text)
				}
				response.Body.Close()
			}
			for i, want := range []string{"", "ok", event.Unfinished} {
				e := <-kept
				if code := map[bool]string{true: "", false: "CANCELED"}[want == "ok"]; e.Outcome != want || e.Code != code {
					t.Errorf("record %d: %+v", i, e)
				}
			}
		})
	}
}

// TestLinesAreFlushed checks that the caller has each line before the next one is ready.
func TestLinesAreFlushed(t *testing.T) {
	f, read := good(), make(chan struct{})
	f.aggregate = func(_ context.Context, r aggregation.Request, ready func(aggregation.SourceResult)) (aggregation.Result, error) {
		last, first := f.source(r, 1), f.source(r, 0)
		ready(last)
		<-read
		ready(first)
		<-read
		return aggregation.Result{Sources: []aggregation.SourceResult{first, last}}, nil
	}
	s := open(t, f)
	r, err := http.NewRequest(http.MethodPost, s.url+aggregations, strings.NewReader(sources("", "1", "2")))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []header{apiKey, ndjson, {"Content-Type", "application/json"}, {"Prefer", "wait=7"}} {
		r.Header.Set(h.name, h.value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.Header.Get("Preference-Applied") != "wait=7" || response.ContentLength != -1 {
		t.Errorf("%v", response.Header)
	}
	lines := bufio.NewReader(response.Body)
	for i, want := range []string{`{"source":{"index":1,`, `{"source":{"index":0,`, `{"summary":{`} {
		line, err := lines.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, want) {
			t.Fatalf("line %d: %s, %v", i, line, err)
		}
		if i < 2 {
			read <- struct{}{}
		}
	}
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("after the last line: %s, %v", rest, err)
	}
}

// TestLineThatCannotBeWritten checks that a stream with a source that has no JSON ends with a problem.
func TestLineThatCannotBeWritten(t *testing.T) {
	impossible := canonical.Balance{Type: canonical.InterimAvailable, Amount: parse(t, "1", "EUR"), ReferenceTime: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}
	source := aggregation.SourceResult{
		Provider: "mastercard", Outcome: aggregation.OK, Freshness: good().list.Freshness, Accounts: []aggregation.Account{{
			ID: "1", JSON: json.RawMessage(`{"accountId":"1","type":"OTHR"}`), Selected: true, Balances: []canonical.Balance{impossible},
		}},
	}
	other := aggregation.SourceResult{Provider: "mastercard", Outcome: aggregation.OK, Freshness: good().list.Freshness, Accounts: []aggregation.Account{}}
	s := open(t, answering(source, other))
	if got := s.post(t, sources("", "1", "2"), apiKey); got.status != http.StatusInternalServerError {
		t.Errorf("%d %s", got.status, got.body)
	}
	got := s.post(t, sources("", "1", "2"), apiKey, ndjson)
	if lines := strings.Split(got.body, "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], `{"source":{"index":1`) || !strings.Contains(lines[1], `{"problem":`) {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// TestFaultsOfTheAggregator checks an error of the whole request that has faults.
func TestFaultsOfTheAggregator(t *testing.T) {
	for _, accept := range []header{{"Accept", "*/*"}, ndjson} {
		f := good()
		f.err = &canonical.Error{Kind: canonical.FormatError, Origin: canonical.OriginGateway, Faults: []canonical.FieldError{
			{In: "header", Name: "Idempotency-Key", Detail: "was used with another body"},
		}}
		got := open(t, f).post(t, oneSource, apiKey, accept, header{"Idempotency-Key", "k"})
		if diff := cmp.Diff([]string{"header Idempotency-Key"}, got.problem().named()); diff != "" || got.status != http.StatusBadRequest {
			t.Errorf("%d: %s", got.status, diff)
		}
	}
}

// deadlines records the write deadlines of the connections of a listener.
type deadlines struct {
	net.Listener
	mu   sync.Mutex
	last time.Time
}

func (d *deadlines) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	return recordedConn{conn, d}, err
}

type recordedConn struct {
	net.Conn
	to *deadlines
}

func (c recordedConn) SetWriteDeadline(t time.Time) error {
	c.to.mu.Lock()
	c.to.last = t
	c.to.mu.Unlock()
	return c.Conn.SetWriteDeadline(t)
}

// TestDeadlineOfAnAggregation checks that the server's WriteTimeout does not end an aggregation
// before its wait time, and still holds for other requests.
func TestDeadlineOfAnAggregation(t *testing.T) {
	f := good()
	server := httptest.NewUnstartedServer(api.New(settings(f, io.Discard)))
	record := &deadlines{Listener: server.Listener}
	server.Listener, server.Config.WriteTimeout = record, 10*time.Second
	server.Start()
	defer server.Close()
	var during time.Time
	f.during = func(context.Context) { record.mu.Lock(); during = record.last; record.mu.Unlock() }
	for _, tt := range []struct {
		method, target string
		beyond         bool // the wait time
	}{{http.MethodPost, aggregations, true}, {http.MethodGet, accountsOf, false}} {
		began := time.Now()
		r, err := http.NewRequest(tt.method, server.URL+tt.target, strings.NewReader(oneSource))
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range []header{apiKey, consent, {"Content-Type", "application/json"}, {"Prefer", "wait=3600"}} {
			r.Header.Set(h.name, h.value)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if beyond := during.After(began.Add(time.Minute)); response.StatusCode != http.StatusOK || beyond != tt.beyond {
			t.Errorf("%s: status %d, the deadline was %v after the request", tt.target, response.StatusCode, during.Sub(began))
		}
	}
}

// TestNothingOfABodyComesOut plants a canary in every member of a body, valid or not, and checks that
// neither the log nor a problem has it.
func TestNothingOfABodyComesOut(t *testing.T) {
	const canary = "Maria17"
	for _, member := range []string{
		`"consentId":"` + canary + `"`, `"consentId":" ` + canary + `"`, `"providerAuthorization":"Bearer ` + canary + `"`, `"providerAuthorization":"` + canary + `"`,
		`"accountIds":["` + canary + `"]`, `"accountIds":["` + canary + `","` + canary + `"]`, `"requestId":"` + canary + `"`, `"aspspId":"` + canary + `"`,
		`"ref":"` + canary + `\u0000"`, `"` + canary + ` ":1`, `"Ivanova":"` + canary + `"`,
	} {
		body := `{"sources":[{"aspspId":"` + bank + `","consentId":"c",` + member + `}]}`
		if strings.HasPrefix(member, `"consentId`) {
			body = strings.Replace(body, `"consentId":"c",`, "", 1)
		}
		for _, failure := range []error{nil, errors.New(canary), canonical.NewError(canonical.InternalError, "")} {
			f := good()
			f.err = failure
			s := open(t, f)
			got := s.post(t, body, apiKey)
			s.lines(t)
			if strings.Contains(got.body+s.log.String(), canary) {
				t.Errorf("%s: %s\n%s", member, got.body, s.log)
			}
		}
	}
}
