package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/api"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/event"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/unattended"
)

// TestHead checks that HEAD has the headers of GET and no body.
func TestHead(t *testing.T) {
	for _, target := range []string{"/openapi.yaml", "/v1/aspsps", "/v1/aspsps/" + bank, accessOf} {
		s := open(t, good())
		got, head := s.do(t, http.MethodGet, target, apiKey, consent), s.do(t, http.MethodHead, target, apiKey, consent)
		for _, changing := range []string{"X-Request-Id", "Date"} {
			got.header.Del(changing)
			head.header.Del(changing)
		}
		if head.status != http.StatusOK || head.body != "" {
			t.Errorf("%s: %d %q", target, head.status, head.body)
		}
		if diff := cmp.Diff(got.header, head.header); diff != "" {
			t.Errorf("%s: headers of GET (-) and HEAD (+) differ:\n%s", target, diff)
		}
	}
	if got := open(t, good()).do(t, http.MethodHead, "/v1/aspsps"); got.status != http.StatusUnauthorized {
		t.Errorf("without credentials: %d", got.status)
	}
}

func TestPragma(t *testing.T) {
	tests := []struct {
		headers []header
		want    gateway.CacheControl
	}{
		{[]header{{"Pragma", "no-cache"}}, gateway.CacheControl{NoCache: true}},
		{[]header{{"Pragma", "x, No-Cache"}}, gateway.CacheControl{NoCache: true}},
		{[]header{{"Pragma", "x"}, {"Pragma", "no-cache"}}, gateway.CacheControl{NoCache: true}},
		{[]header{{"Pragma", `x="no-cache`}}, gateway.CacheControl{}},
		{[]header{{"Pragma", "no-cache"}, {"Cache-Control", "only-if-cached"}}, gateway.CacheControl{OnlyIfCached: true}},
		{[]header{{"Pragma", ""}}, gateway.CacheControl{}},
	}
	for _, tt := range tests {
		s := open(t, good())
		if got := s.do(t, http.MethodGet, accountsOf, append(tt.headers, apiKey, consent)...); got.status != http.StatusOK {
			t.Fatalf("%v: %d %s", tt.headers, got.status, got.body)
		}
		if diff := cmp.Diff(tt.want, s.gateway.asked[0].wants); diff != "" {
			t.Errorf("%v: %s", tt.headers, diff)
		}
	}
}

// TestUnattendedLimitInWords checks the texts of problems for the unattended limit.
func TestUnattendedLimitInWords(t *testing.T) {
	const present = " Call only while the user is present, with `PSU-IP-Address`."
	now := time.Date(2026, 11, 29, 18, 24, 18, 300_000_000, time.UTC)
	next := " Next one at 2026-11-30T18:24:19Z. Until then call only while the user is present, with `PSU-IP-Address`."
	used := &unattended.Usage{Limit: 4, Used: 4, Window: 24 * time.Hour}
	tests := []struct {
		name     string
		policy   config.Unattended
		state    *unattended.Usage
		failure  canonical.Error
		attended bool
		want     string
		action   string
	}{
		{
			name: "used up", policy: policy, state: used, failure: canonical.Error{RetryAfter: 24 * time.Hour},
			want: "All 4 unattended calls of the last 24 hours are used for this consent." + next,
		},
		{
			name: "used up, by the clock of Redis", policy: policy, failure: canonical.Error{RetryAfter: 24 * time.Hour},
			state: &unattended.Usage{Limit: 4, Used: 4, NextAt: now.Add(24*time.Hour + 90*time.Second)},
			want: "All 4 unattended calls of the last 24 hours are used for this consent. Next one at 2026-11-30T18:25:49Z. " +
				"Until then call only while the user is present, with `PSU-IP-Address`.",
		},
		{
			name: "refused by the bank while slots are left", policy: policy,
			failure: canonical.Error{Origin: canonical.OriginASPSP, RetryAfter: 24 * time.Hour},
			state:   &unattended.Usage{Limit: 4, Used: 1, Remaining: 3, NextAt: now.Add(time.Hour)},
			want:    "The bank refused an unattended call because its own limit is used up." + next,
		},
		{
			name: "more pages than slots for now", policy: policy,
			state:   &unattended.Usage{Limit: 4, Used: 4, NextAt: now.Add(time.Hour)},
			failure: canonical.Error{Slots: &canonical.SlotNeed{Needed: 3, Remaining: 1}, RetryAfter: 24 * time.Hour},
			want: "This read needs 3 unattended calls, and 1 of 4 are left for this consent. " +
				"Enough calls are free at 2026-11-30T18:24:19Z. Until then call only while the user is present, with `PSU-IP-Address`.",
		},
		{
			name: "by resource, in 90 minutes", policy: config.Unattended{Limit: 2, Window: 90 * time.Minute, Unit: config.UnitResource},
			failure: canonical.Error{RetryAfter: 24 * time.Hour},
			want:    "All 2 unattended calls of the last 90 minutes are used for this account list or account." + next,
		},
		{
			name: "of the ASPSP, in an hour", policy: config.Unattended{Limit: 1, Window: time.Hour, Unit: config.UnitASPSP},
			want: "All 1 unattended calls of the last hour are used for this ASPSP." + present,
		},
		{
			name: "blocked", policy: policy, state: &unattended.Usage{Limit: 4, Used: 1}, failure: canonical.Error{RetryAfter: 24 * time.Hour},
			want: "Unattended calls are blocked for this consent." + next,
		},
		{
			name: "never", policy: config.Unattended{Window: 24 * time.Hour, Unit: config.UnitConsent},
			want: "This bank is never called without the user." + present,
		},
		{
			name: "more pages than slots", policy: policy, state: used,
			failure: canonical.Error{Slots: &canonical.SlotNeed{Needed: 5, Remaining: 3}},
			want:    "This read needs 5 unattended calls, and 3 of 4 are left for this consent." + present,
		},
		{
			name: "refused by the bank", policy: policy, failure: canonical.Error{Origin: canonical.OriginASPSP, RetryAfter: 24 * time.Hour},
			want: "The bank refused an unattended call because its own limit is used up." + next,
		},
		{
			name: "refused by the bank although the user is there", policy: policy, attended: true,
			failure: canonical.Error{Origin: canonical.OriginASPSP, RetryAfter: time.Hour},
			want: "The bank refused a call with the user present because of its limit for calls without the user. " +
				"Retry later, after `Retry-After` if present. Unattended calls are not affected.",
			action: "retry_later",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := good()
			f.policy = &tt.policy
			failure := tt.failure
			failure.Kind, failure.Attended = canonical.UnattendedLimit, tt.attended
			if failure.Origin == "" {
				failure.Origin = canonical.OriginGateway
			}
			f.list.Usage, f.err = tt.state, &failure
			s := open(t, f, func(c *api.Config) { c.Now = func() time.Time { return now } })
			headers := []header{apiKey, consent}
			if tt.attended {
				headers = append(headers, attended)
			}
			p := s.do(t, http.MethodGet, accountsOf, headers...).problem()
			if diff := cmp.Diff(tt.want, p.Detail); diff != "" {
				t.Error(diff)
			}
			if want := tt.action; p.Action != want && (want != "" || p.Action != "retry_attended") || !p.Retryable {
				t.Errorf("action is %s, retryable %v", p.Action, p.Retryable)
			}
		})
	}
}

// TestSituations checks the details that differ within one code.
func TestSituations(t *testing.T) {
	gatewayError := func(k canonical.Kind, detail string) error { return canonical.NewError(k, detail) }
	tests := []struct {
		name, target, code, action, detail string
		headers                            []header
		err                                error
	}{
		{"scope of the list", accountsOf, "FORBIDDEN", "contact_support", "the scope `accounts:read`", []header{{"X-API-Key", noScope}}, nil},
		{"scope of balances", balancesOf("1"), "FORBIDDEN", "contact_support", "the scope `balances:read`", []header{{"X-API-Key", noScope}}, nil},
		{"an account of the list", accountsOf, "ACCOUNT_UNKNOWN", "refresh_accounts", "An account of this consent is no longer", nil, gatewayError(canonical.AccountUnknown, "")},
		{"an account", balancesOf("1"), "ACCOUNT_UNKNOWN", "refresh_accounts", "Read the account list again. If the account", nil, gatewayError(canonical.AccountUnknown, "")},
		{"the breaker", accountsOf, "PROVIDER_UNAVAILABLE", "retry_later", "(circuit breaker)", nil, gatewayError(canonical.ProviderUnavailable, "")},
		{"the provider", accountsOf, "PROVIDER_UNAVAILABLE", "retry_later", "is not responding", nil, &canonical.Error{Kind: canonical.ProviderUnavailable, Origin: canonical.OriginProvider}},
		{"no counter for a call", accountsOf, "COUNTER_UNAVAILABLE", "retry_attended", "cannot be counted", nil, gatewayError(canonical.CounterUnavailable, "")},
		{"no counter to read", accessOf, "COUNTER_UNAVAILABLE", "retry_later", "usage cannot be read", nil, gatewayError(canonical.CounterUnavailable, "")},
		{"too many calls", accountsOf, "OVERLOADED", "retry_later", "Too many calls. Retry after", nil, gatewayError(canonical.Overloaded, "too many calls")},
		{"too much", accountsOf, "OVERLOADED", "retry_later", "(in total, for your client, or for this ASPSP)", nil, gatewayError(canonical.Overloaded, "")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := good()
			f.err = tt.err
			headers := tt.headers
			if headers == nil {
				headers = []header{apiKey}
			}
			p := open(t, f).do(t, http.MethodGet, tt.target, append(headers, consent)...).problem()
			if p.Code != tt.code || p.Action != tt.action || !strings.Contains(p.Detail, tt.detail) {
				t.Errorf("%s, %s: %s", p.Code, p.Action, p.Detail)
			}
		})
	}
}

func TestTraceID(t *testing.T) {
	for name, o := range map[string]api.Observer{traceID: &observer{}, "": nil} {
		f := good()
		f.err = canonical.NewError(canonical.NotCached, "")
		s := open(t, f, func(c *api.Config) { c.Observer = o })
		if p := s.do(t, http.MethodGet, accountsOf, apiKey, consent).problem(); p.TraceID != name {
			t.Errorf("traceId is %q, want %q", p.TraceID, name)
		}
	}
}

// TestNothingTellsWhetherAKeyExists checks that all wrong credentials get the same response.
func TestNothingTellsWhetherAKeyExists(t *testing.T) {
	s := open(t, good())
	refused := func(h header) string {
		got := s.do(t, http.MethodGet, accountsOf, consent, h)
		var members map[string]any
		if err := json.Unmarshal([]byte(got.body), &members); err != nil {
			t.Fatal(err)
		}
		delete(members, "requestId")
		got.header.Del("X-Request-Id")
		got.header.Del("Date")
		return fmt.Sprint(got.status, got.header, members)
	}
	want := refused(header{"X-API-Key", "unknown"})
	for _, h := range []header{
		{"X-API-Key", allScope + "x"},
		{"X-API-Key", allScope[1:]},
		{"X-API-Key", digest(allScope)},
		{"X-API-Key", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.x"},
		{"Authorization", "Bearer unknown"},
		{"Authorization", "Bearer " + strings.ToUpper(allScope)},
		{"Authorization", "Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.x"},
	} {
		if got := refused(h); got != want {
			t.Errorf("%v: %s, want %s", h, got, want)
		}
	}
}

// TestGoneCallerGetsNoResponse closes one side of the connection, as a caller does that leaves, and
// checks that no response is sent.
func TestGoneCallerGetsNoResponse(t *testing.T) {
	f := good()
	f.err = canonical.NewError(canonical.Canceled, "")
	gone := make(chan struct{})
	f.during = func(ctx context.Context) { close(gone); <-ctx.Done() }
	o := &observer{got: make(chan event.Request, 1)}
	s := open(t, f, func(c *api.Config) { c.Observer = o })
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\nX-API-Key: %s\r\nConsent-ID: a\r\n\r\n", accountsOf, allScope)
	<-gone
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	sent, err := io.ReadAll(conn)
	if len(sent) > 0 || err != nil {
		t.Errorf("sent %q, %v", sent, err)
	}
	if got := o.outcome(t); got.Status != 499 || got.Code != "CANCELED" {
		t.Errorf("observed %+v", got)
	}
}

// TestMisframed checks that a request with an ambiguous end is refused before all other checks.
func TestMisframed(t *testing.T) {
	s := open(t, good(), func(c *api.Config) { c.Observer = &misframing{&observer{}} })
	for _, target := range []string{"/nowhere", "/v1/aspsps", accountsOf} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target)
		got, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(got.Body)
		if err != nil || got.StatusCode != http.StatusBadRequest || !got.Close || !strings.Contains(string(body), `"name":"Transfer-Encoding"`) {
			t.Errorf("%s: %d %v %s", target, got.StatusCode, got.Header, body)
		}
	}
	if len(s.gateway.asked) > 0 {
		t.Error("the gateway was asked")
	}
}

type misframing struct{ *observer }

func (m *misframing) Request(ctx context.Context, _ string, _ http.Header) (context.Context, func(event.Request)) {
	return api.Misframed(ctx, canonical.FieldError{In: "header", Name: "Transfer-Encoding", Detail: "is odd"}), func(event.Request) {}
}

// TestAuthenticatedIsToldOfTheKnown checks that Config.Authenticated is called for authenticated
// requests only.
func TestAuthenticatedIsToldOfTheKnown(t *testing.T) {
	known := 0
	s := open(t, good(), func(c *api.Config) { c.Authenticated = func(context.Context) { known++ } })
	for h, want := range map[header]int{{"X-API-Key", "wrong"}: 0, {"X-API-Key", noScope}: 1, apiKey: 1} {
		known = 0
		s.do(t, http.MethodGet, accountsOf, h, consent)
		if known != want {
			t.Errorf("%v: %d times", h, known)
		}
	}
}
