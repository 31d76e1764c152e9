package mypos

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/mypos/mypossim"
)

func tpp(codes ...string) string {
	for i, code := range codes {
		codes[i] = `{"category":"ERROR","code":"` + code + `","text":"Ivan Petrov, BG57INTF40015004462007"}`
	}
	return `{"tppMessages":[` + strings.Join(codes, ",") + `]}`
}

func TestRefusals(t *testing.T) {
	const html = "<html><body><h1>Something</h1></body></html>"
	tests := []struct {
		name     string
		status   int
		body     string
		attended bool
		list     bool // of the account list, not of balances
		want     canonical.Kind
		code     string
	}{
		// Only the status.
		{name: "200-and-something", status: 204, want: canonical.ProviderInvalidResponse},
		{name: "201 names a code", status: 201, body: tpp("CONSENT_EXPIRED"), want: canonical.ProviderInvalidResponse},
		{name: "302", status: 302, body: html, want: canonical.ProviderInvalidResponse},
		{name: "304", status: 304, want: canonical.ProviderInvalidResponse},
		{name: "400", status: 400, body: html, want: canonical.ProviderRejected},
		{name: "401", status: 401, want: canonical.ConsentInvalid},
		{name: "401 HTML", status: 401, body: html, want: canonical.ConsentInvalid},
		{name: "403", status: 403, want: canonical.ProviderRejected},
		{name: "404 balances", status: 404, want: canonical.AccountUnknown},
		{name: "404 list", status: 404, list: true, want: canonical.ProviderRejected},
		{name: "405", status: 405, want: canonical.ProviderRejected},
		{name: "406", status: 406, want: canonical.ProviderRejected},
		{name: "415", status: 415, want: canonical.ProviderRejected},
		{name: "429", status: 429, want: canonical.ProviderThrottled},
		{name: "500", status: 500, body: html, want: canonical.ProviderError},
		{name: "502", status: 502, want: canonical.ProviderError},
		{name: "503", status: 503, want: canonical.ProviderUnavailable},
		{name: "504", status: 504, body: html, want: canonical.ProviderTimeout},
		{name: "599", status: 599, want: canonical.ProviderError},

		// Codes, with their usual status and with others.
		{name: "consent expired", status: 401, body: tpp("CONSENT_EXPIRED"), want: canonical.ConsentExpired, code: "CONSENT_EXPIRED"},
		{name: "consent expired at 400", status: 400, body: tpp("CONSENT_EXPIRED"), want: canonical.ConsentExpired, code: "CONSENT_EXPIRED"},
		{name: "consent expired at 429", status: 429, body: tpp("CONSENT_EXPIRED"), want: canonical.ConsentExpired, code: "CONSENT_EXPIRED"},
		{name: "consent expired at 503", status: 503, body: tpp("CONSENT_EXPIRED"), want: canonical.ConsentExpired, code: "CONSENT_EXPIRED"},
		{name: "in lower case, padded", status: 401, body: tpp(" consent_expired "), want: canonical.ConsentExpired, code: "CONSENT_EXPIRED"},
		{name: "token expired", status: 401, body: tpp("TOKEN_EXPIRED"), want: canonical.ConsentExpired, code: "TOKEN_EXPIRED"},
		{name: "consent invalid", status: 401, body: tpp("CONSENT_INVALID"), want: canonical.ConsentInvalid, code: "CONSENT_INVALID"},
		{name: "consent unknown at 403", status: 403, body: tpp("CONSENT_UNKNOWN"), want: canonical.ConsentInvalid, code: "CONSENT_UNKNOWN"},
		{name: "consent unknown at 400", status: 400, body: tpp("CONSENT_UNKNOWN"), want: canonical.ConsentInvalid, code: "CONSENT_UNKNOWN"},
		{name: "token unknown", status: 401, body: tpp("TOKEN_UNKNOWN"), want: canonical.ConsentInvalid, code: "TOKEN_UNKNOWN"},
		{name: "token invalid", status: 401, body: tpp("TOKEN_INVALID"), want: canonical.ConsentInvalid, code: "TOKEN_INVALID"},
		{name: "token unknown at 403", status: 403, body: tpp("TOKEN_UNKNOWN"), want: canonical.ConsentInvalid, code: "TOKEN_UNKNOWN"},
		{name: "token invalid at 400", status: 400, body: tpp("TOKEN_INVALID"), want: canonical.ConsentInvalid, code: "TOKEN_INVALID"},
		{name: "format error at 500", status: 500, body: tpp("FORMAT_ERROR"), want: canonical.ProviderRejected, code: "FORMAT_ERROR"},
		{name: "certificate", status: 401, body: tpp("CERTIFICATE_EXPIRED"), want: canonical.ProviderRejected, code: "CERTIFICATE_EXPIRED"},
		{name: "another certificate", status: 401, body: tpp("CERTIFICATE_REVOKED"), want: canonical.ProviderRejected, code: "CERTIFICATE_REVOKED"},
		{name: "resource unknown", status: 404, body: tpp("RESOURCE_UNKNOWN"), list: true, want: canonical.AccountUnknown, code: "RESOURCE_UNKNOWN"},
		{name: "resource unknown at 403", status: 403, body: tpp("RESOURCE_UNKNOWN"), want: canonical.AccountUnknown, code: "RESOURCE_UNKNOWN"},
		{name: "resource unknown at 400", status: 400, body: tpp("RESOURCE_UNKNOWN"), want: canonical.AccountUnknown, code: "RESOURCE_UNKNOWN"},
		{name: "access exceeded", status: 429, body: tpp("ACCESS_EXCEEDED"), want: canonical.UnattendedLimit, code: "ACCESS_EXCEEDED"},
		{name: "access exceeded at 403", status: 403, body: tpp("ACCESS_EXCEEDED"), want: canonical.UnattendedLimit, code: "ACCESS_EXCEEDED"},
		{name: "format error", status: 400, body: tpp("FORMAT_ERROR"), want: canonical.ProviderRejected, code: "FORMAT_ERROR"},
		{name: "service blocked", status: 403, body: tpp("SERVICE_BLOCKED"), want: canonical.ProviderError, code: "SERVICE_BLOCKED"},
		{name: "internal error", status: 500, body: tpp("INTERNAL_SERVER_ERROR"), want: canonical.ProviderError, code: "INTERNAL_SERVER_ERROR"},
		{name: "internal error at 403", status: 403, body: tpp("INTERNAL_SERVER_ERROR"), want: canonical.ProviderError, code: "INTERNAL_SERVER_ERROR"},
		{name: "unavailable at 500", status: 500, body: tpp("SERVICE_UNAVAILABLE"), want: canonical.ProviderUnavailable, code: "SERVICE_UNAVAILABLE"},
		{name: "generic code at 429", status: 429, body: tpp("SERVICE_UNAVAILABLE"), want: canonical.ProviderThrottled, code: "SERVICE_UNAVAILABLE"},
		{name: "generic code at 503", status: 503, body: tpp("INTERNAL_SERVER_ERROR"), want: canonical.ProviderUnavailable, code: "INTERNAL_SERVER_ERROR"},
		{name: "generic code at 504", status: 504, body: tpp("SERVICE_BLOCKED"), want: canonical.ProviderTimeout, code: "SERVICE_BLOCKED"},
		{name: "unknown code", status: 401, body: tpp("PSU_CREDENTIALS_INVALID"), want: canonical.ConsentInvalid, code: "PSU_CREDENTIALS_INVALID"},
		{name: "code that is a sentence", status: 400, body: tpp("Ivan Petrov"), want: canonical.ProviderRejected},

		// Several codes: the most specific decides.
		{name: "expired before all", status: 400, body: tpp("INTERNAL_SERVER_ERROR", "FORMAT_ERROR", "ACCESS_EXCEEDED", "RESOURCE_UNKNOWN", "CONSENT_INVALID", "CONSENT_EXPIRED"), want: canonical.ConsentExpired, code: "CONSENT_EXPIRED"},
		{name: "invalid before the account", status: 400, body: tpp("RESOURCE_UNKNOWN", "CONSENT_INVALID", "ACCESS_EXCEEDED"), want: canonical.ConsentInvalid, code: "CONSENT_INVALID"},
		{name: "account before the limit", status: 429, body: tpp("ACCESS_EXCEEDED", "RESOURCE_UNKNOWN"), want: canonical.AccountUnknown, code: "RESOURCE_UNKNOWN"},
		{name: "limit before the format", status: 400, body: tpp("FORMAT_ERROR", "ACCESS_EXCEEDED"), want: canonical.UnattendedLimit, code: "ACCESS_EXCEEDED"},
		{name: "certificate before generic", status: 400, body: tpp("SERVICE_UNAVAILABLE", "CERTIFICATE_MISSING"), want: canonical.ProviderRejected, code: "CERTIFICATE_MISSING"},
		{name: "warnings are none", status: 401, body: `{"tppMessages":[{"category":"Warning","code":"CONSENT_EXPIRED"},{"category":"ERROR","code":"CONSENT_INVALID"}]}`, want: canonical.ConsentInvalid, code: "CONSENT_INVALID"},
		{name: "null message", status: 401, body: `{"tppMessages":[null,{"code":"TOKEN_EXPIRED"}]}`, want: canonical.ConsentExpired, code: "TOKEN_EXPIRED"},

		// Other forms of a body.
		{name: "problem with a code", status: 401, body: `{"type":"about:blank","title":"x","status":401,"code":"CONSENT_EXPIRED","detail":"y"}`, want: canonical.ConsentExpired, code: "CONSENT_EXPIRED"},
		{name: "problem whose type is the code", status: 403, body: `{"type":"https://example.com/errors/CONSENT_UNKNOWN"}`, want: canonical.ConsentInvalid, code: "CONSENT_UNKNOWN"},
		{name: "problem whose title is the code", status: 401, body: `{"title":"TOKEN_EXPIRED"}`, want: canonical.ConsentExpired, code: "TOKEN_EXPIRED"},
		{name: "problem with more errors", status: 400, body: `{"code":"FORMAT_ERROR","additionalErrors":[{"code":"TOKEN_EXPIRED"}]}`, want: canonical.ConsentExpired, code: "TOKEN_EXPIRED"},
		{name: "problem without a code", status: 401, body: `{"type":"about:blank","title":"Unauthorized"}`, want: canonical.ConsentInvalid},
		{name: "numeric code", status: 403, body: `{"code":403,"description":"Invalid API key"}`, want: canonical.ProviderRejected},
		{name: "members of odd types", status: 401, body: `{"code":["x"],"title":{},"tppMessages":[{"code":"CONSENT_EXPIRED","text":7}]}`, want: canonical.ConsentExpired, code: "CONSENT_EXPIRED"},
		{name: "code given twice", status: 401, body: `{"code":"CONSENT_EXPIRED","code":"X"}`, want: canonical.ConsentInvalid},
		{name: "messages are no list", status: 401, body: `{"tppMessages":7}`, want: canonical.ConsentInvalid},
		{name: "list", status: 401, body: `[]`, want: canonical.ConsentInvalid},
		{name: "binary", status: 500, body: "\xff\x00\xfe", want: canonical.ProviderError},

		// Wording.
		{name: "quota of a sibling", status: 429, body: `{"code":429,"description":"Maximum access quota is reached!"}`, want: canonical.UnattendedLimit},
		{name: "quota, attended", status: 429, body: `{"code":429,"description":"Maximum access quota is reached!"}`, attended: true, want: canonical.UnattendedLimit},
		{name: "quota with an unavailable code", status: 429, body: `{"code":"SERVICE_UNAVAILABLE","detail":"access quota used up"}`, want: canonical.UnattendedLimit, code: "SERVICE_UNAVAILABLE"},
		{name: "quota at another status", status: 403, body: `{"code":403,"description":"Maximum access quota is reached!"}`, want: canonical.ProviderRejected},
		{name: "address needed", status: 400, body: `{"tppMessages":[{"code":"FORMAT_ERROR","text":"Header PSU-IP-Address is required"}]}`, want: canonical.UnattendedLimit, code: "FORMAT_ERROR"},
		{name: "address named by path", status: 400, body: `{"tppMessages":[{"code":"FORMAT_ERROR","path":"PSU-IP-Address","text":"is missing"}]}`, want: canonical.UnattendedLimit, code: "FORMAT_ERROR"},
		{name: "address needed, attended", status: 400, body: `{"tppMessages":[{"code":"FORMAT_ERROR","text":"Header PSU-IP-Address is required"}]}`, attended: true, want: canonical.ProviderRejected, code: "FORMAT_ERROR"},
		{name: "address needed, consent gone", status: 400, body: `{"tppMessages":[{"code":"CONSENT_UNKNOWN","text":"PSU-IP-Address"}]}`, want: canonical.ConsentInvalid, code: "CONSENT_UNKNOWN"},
		{name: "address at another status", status: 403, body: `PSU-IP-Address is required`, want: canonical.ProviderRejected},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q, r := unattendedQuery(), providers.Request{Account: "1"}
			if tt.attended {
				q = testQuery()
			}
			if tt.list {
				r.Account = ""
			}
			got := classifier.Classify(q, r, providers.Response{Status: tt.status, Body: []byte(tt.body)})
			origin := canonical.OriginProvider
			if tt.want == canonical.UnattendedLimit {
				origin = canonical.OriginASPSP
			}
			if got.Kind != tt.want || got.Origin != origin {
				t.Errorf("is %s from %s, want %s from %s", got.Kind, got.Origin, tt.want, origin)
			}
			if want := (canonical.UpstreamError{HTTPStatus: tt.status, ReasonCode: tt.code}); *got.Upstream != want {
				t.Errorf("shows %+v, want %+v", *got.Upstream, want)
			}
			if text := got.Error(); strings.Contains(text, "Petrov") || strings.Contains(text, "BG57") {
				t.Errorf("shows the provider's text: %s", text)
			}
		})
	}
}

// TestForeignRefusals checks that error responses to another request are ignored.
func TestForeignRefusals(t *testing.T) {
	answers := map[string]providers.Response{
		"redirection":      {Status: 302},
		"no content":       {Status: 204},
		"consent expired":  {Status: 401, Body: []byte(tpp("CONSENT_EXPIRED"))},
		"bare 401":         {Status: 401},
		"account unknown":  {Status: 404, Body: []byte(tpp("RESOURCE_UNKNOWN"))},
		"access exceeded":  {Status: 429, Body: []byte(tpp("ACCESS_EXCEEDED"))},
		"quota":            {Status: 429, Body: []byte("Maximum access quota is reached!")},
		"throttled":        {Status: 429},
		"address needed":   {Status: 400, Body: []byte("PSU-IP-Address is required")},
		"out of order":     {Status: 503, Body: []byte(tpp("SERVICE_UNAVAILABLE"))},
		"gateway time-out": {Status: 504},
	}
	echoes := map[string]struct {
		echo    []string
		foreign bool
	}{
		"missing":       {nil, false},
		"same":          {[]string{testRequestID}, false},
		"in other case": {[]string{strings.ToLower(testRequestID)}, false},
		"another":       {[]string{uuid.NewString()}, true},
		"empty":         {[]string{""}, false},
		"empty, other":  {[]string{"", uuid.NewString()}, true},
		"two":           {[]string{testRequestID, uuid.NewString()}, true},
	}
	for name, a := range answers {
		own := classifier.Classify(unattendedQuery(), providers.Request{Account: "1"}, a)
		for how, tt := range echoes {
			want := own
			if tt.foreign {
				want = &canonical.Error{
					Kind: canonical.ProviderInvalidResponse, Origin: canonical.OriginProvider,
					Detail: "the response belongs to another request", Upstream: &canonical.UpstreamError{HTTPStatus: a.Status},
				}
			}
			a.Header = http.Header{"X-Request-Id": tt.echo}
			if diff := cmp.Diff(want, classifier.Classify(unattendedQuery(), providers.Request{Account: "1"}, a)); diff != "" {
				t.Errorf("%s, echo %s (-want +got):\n%s", name, how, diff)
			}
		}
	}
}

// TestForeignLimitClosesNothing checks that an unattended read is possible after a response to
// another request reported the limit.
func TestForeignLimitClosesNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		echo string
		want []canonical.Kind // of two reads; "" for a success
	}{
		"own":     {testRequestID, []canonical.Kind{canonical.UnattendedLimit, canonical.UnattendedLimit}},
		"another": {uuid.NewString(), []canonical.Kind{canonical.ProviderInvalidResponse, ""}},
		"empty":   {"", []canonical.Kind{canonical.UnattendedLimit, canonical.UnattendedLimit}},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if calls.Add(1) > 1 {
					fmt.Fprint(w, `{"accounts":[]}`)
					return
				}
				w.Header()["X-Request-Id"] = []string{tt.echo}
				w.WriteHeader(http.StatusTooManyRequests)
				fmt.Fprint(w, tpp("ACCESS_EXCEEDED"))
			}), counter(t))
			for i, want := range tt.want {
				_, err := p.Accounts(t.Context(), unattendedQuery())
				if want != "" {
					wantKind(t, err, want)
				} else if err != nil {
					t.Errorf("read %d: %v", i+1, err)
				}
			}
		})
	}
}

func TestQuotaWording(t *testing.T) {
	tests := []struct {
		text string
		want canonical.Kind
	}{
		{"Maximum access quota is reached!", canonical.UnattendedLimit},
		{"The quota of accesses is used up", canonical.UnattendedLimit},
		{"ACCESS LIMIT reached", canonical.UnattendedLimit},
		{"Limit of accesses without SCA exceeded", canonical.UnattendedLimit},
		{"ASPSP limit for unattended requests was exceeded", canonical.UnattendedLimit},
		{"Maximum number of accesses\nper day exceeded", canonical.UnattendedLimit},
		{"Number of allowed accesses exceeded", canonical.UnattendedLimit},
		{"4 accesses per day", canonical.UnattendedLimit},
		{"four accesses a day", canonical.UnattendedLimit},
		{"access_exceeded", canonical.UnattendedLimit},
		{"Too many requests without PSU involvement", canonical.UnattendedLimit},
		{"too many requests without the PSU", canonical.UnattendedLimit},
		{"PSU not present", canonical.UnattendedLimit},
		{"the PSU is not present", canonical.UnattendedLimit},
		{"PSU absent", canonical.UnattendedLimit},
		{"call was not initiated by PSU", canonical.UnattendedLimit},
		{"call was not initiated by the PSU", canonical.UnattendedLimit},
		{"Frequency per day exceeded", canonical.UnattendedLimit},
		{"frequencyPerDay exceeded", canonical.UnattendedLimit},
		{"Daily limit exceeded", canonical.UnattendedLimit},
		{"daily quota exceeded", canonical.UnattendedLimit},
		{"daily access is used up", canonical.UnattendedLimit},
		{"Allowed only four times", canonical.UnattendedLimit},
		{"Allowed only 4 times", canonical.UnattendedLimit},
		{"no more within 24 hours", canonical.UnattendedLimit},
		{"no more within 24h", canonical.UnattendedLimit},
		{"Quota exceeded", canonical.UnattendedLimit},
		{"QUOTA_EXCEEDED", canonical.UnattendedLimit},
		{"The quota is used up", canonical.UnattendedLimit},
		{"Your quotas are exhausted", canonical.UnattendedLimit},

		{"Too Many Requests", canonical.ProviderThrottled},
		{"API rate limit exceeded", canonical.ProviderThrottled},
		{"Access denied: too many requests", canonical.ProviderThrottled},
		{"Daily limit of API calls exceeded", canonical.ProviderThrottled},
		{"Daily quota of your subscription is used up", canonical.ProviderThrottled},
		{"Access quota of this API key is used up", canonical.ProviderThrottled},
		{"access quota of this apikey", canonical.ProviderThrottled},
		{"Number of accesses per second exceeded", canonical.ProviderThrottled},
		{"Number of accesses per minute exceeded", canonical.ProviderThrottled},
		{"Number of accesses per hour exceeded", canonical.ProviderThrottled},
		{"access limit: 10 a second", canonical.ProviderThrottled},
		{"access limit: 10 a minute", canonical.ProviderThrottled},
		{"access limit: call rate exceeded", canonical.ProviderThrottled},
		{"access limit: rate limit", canonical.ProviderThrottled},
		{"daily api quota", canonical.ProviderThrottled},
		{"Quota exceeded: 10 requests per second", canonical.ProviderThrottled},
		{"Rate limit quota violation. Quota limit exceeded.", canonical.ProviderThrottled},
		{"Message throttled out: you have exceeded your quota", canonical.ProviderThrottled},
		{"daily quota: api quota is used up", canonical.ProviderThrottled},
		{"Daily limit of your application", canonical.ProviderThrottled},
		{"Daily limit of this Client-ID", canonical.ProviderThrottled},
		{"access limit: too many concurrent requests", canonical.ProviderThrottled},
		{"Throttled: access limit", canonical.ProviderThrottled},
	}
	for _, tt := range tests {
		for form, body := range map[string]string{
			"text":        tt.text,
			"tppMessages": `{"tppMessages":[{"category":"ERROR","code":"X","text":"` + strings.ReplaceAll(tt.text, "\n", `\n`) + `"}]}`,
			"description": `{"code":429,"description":"` + strings.ReplaceAll(tt.text, "\n", " ") + `"}`,
			"problem":     `{"title":"Too Many Requests","detail":"` + strings.ReplaceAll(tt.text, "\n", " ") + `"}`,
			"other JSON":  `{"error":"` + strings.ReplaceAll(tt.text, "\n", " ") + `"}`,
		} {
			got := classifier.Classify(unattendedQuery(), providers.Request{}, providers.Response{Status: http.StatusTooManyRequests, Body: []byte(body)})
			if got.Kind != tt.want {
				t.Errorf("%q as %s is %s, want %s", tt.text, form, got.Kind, tt.want)
			}
		}
	}
	for _, page := range []string{"<html><body><p>Maximum access quota is reached!</p></body></html>", "\n<?xml version='1.0'?><e>access exceeded</e>"} {
		got := classifier.Classify(unattendedQuery(), providers.Request{}, providers.Response{Status: http.StatusTooManyRequests, Body: []byte(page)})
		if got.Kind != canonical.ProviderThrottled {
			t.Errorf("the page %q is %s", page, got.Kind)
		}
	}
}

func TestAddressWording(t *testing.T) {
	for text, want := range map[string]canonical.Kind{
		"PSU-IP-Address header is mandatory":     canonical.UnattendedLimit,
		"psuIpAddress must not be null":          canonical.UnattendedLimit,
		"The user's IP is needed":                canonical.UnattendedLimit,
		"The user’s IP is needed":                canonical.UnattendedLimit,
		"user IP address missing":                canonical.UnattendedLimit,
		"The IP address of the PSU is missing":   canonical.UnattendedLimit,
		"The IP address of the user is missing":  canonical.UnattendedLimit,
		"X-Request-ID is missing":                canonical.ProviderRejected,
		"Your IP address is not on the list":     canonical.ProviderRejected,
		"PSU-Device-ID is mandatory":             canonical.ProviderRejected,
		"The description of the user is missing": canonical.ProviderRejected,
	} {
		got := classifier.Classify(unattendedQuery(), providers.Request{}, providers.Response{Status: http.StatusBadRequest, Body: []byte(text)})
		if got.Kind != want {
			t.Errorf("%q is %s, want %s", text, got.Kind, want)
		}
	}
}

// TestRefusalsOfTheSimulator reads every error of the simulator over HTTP, for lists and balances.
func TestRefusalsOfTheSimulator(t *testing.T) {
	tests := []struct {
		consent  string
		balances canonical.Kind
		list     canonical.Kind // "" for the same
		wait     time.Duration
	}{
		{consent: mypossim.Consent401ConsentExpired, balances: canonical.ConsentExpired},
		{consent: mypossim.Consent401ConsentInvalid, balances: canonical.ConsentInvalid},
		{consent: mypossim.Consent401Bare, balances: canonical.ConsentInvalid},
		{consent: mypossim.Consent401Certificate, balances: canonical.ProviderRejected},
		{consent: mypossim.Consent403ConsentUnknown, balances: canonical.ConsentInvalid},
		{consent: mypossim.Consent404Unknown, balances: canonical.AccountUnknown},
		{consent: mypossim.Consent404Bare, balances: canonical.AccountUnknown, list: canonical.ProviderRejected},
		{consent: mypossim.Consent429Exceeded, balances: canonical.UnattendedLimit, wait: time.Hour},
		{consent: mypossim.Consent429Quota, balances: canonical.UnattendedLimit, wait: 24 * time.Hour},
		{consent: mypossim.Consent429Throttled, balances: canonical.ProviderThrottled, wait: 7 * time.Second},
		{consent: mypossim.Consent400NeedsAddress, balances: canonical.UnattendedLimit, wait: 24 * time.Hour},
		{consent: mypossim.Consent400Format, balances: canonical.ProviderRejected},
		{consent: mypossim.Consent500, balances: canonical.ProviderError},
		{consent: mypossim.Consent503, balances: canonical.ProviderUnavailable, wait: 2 * time.Minute},
		{consent: mypossim.Consent504, balances: canonical.ProviderTimeout},
		{consent: mypossim.Consent400Several, balances: canonical.ConsentExpired},
	}
	sim, _ := simulator(nil)
	p := serve(t, sim, counter(t))
	for _, tt := range tests {
		t.Run(tt.consent, func(t *testing.T) {
			q := unattendedQuery()
			q.Consent = tt.consent
			began := time.Now()
			_, err := p.Balances(t.Context(), q, mypossim.GoodAccount)
			failure := wantKind(t, err, tt.balances)
			if off := tt.wait - failure.RetryAfter; off < 0 || off > time.Since(began)+time.Second {
				t.Errorf("retry after %s, want %s", failure.RetryAfter, tt.wait)
			}
			_, err = p.Accounts(t.Context(), q)
			if tt.list == "" {
				tt.list = tt.balances
			}
			wantKind(t, err, tt.list)
		})
	}
}

func TestTokensAndKey(t *testing.T) {
	tests := []struct {
		name  string
		token canonical.Secret
		key   string
		want  canonical.Kind
	}{
		{name: "expired token", token: mypossim.ExpiredToken, key: testKey, want: canonical.ConsentExpired},
		{name: "unknown token", token: "somebody", key: testKey, want: canonical.ConsentInvalid},
		{name: "wrong key", token: mypossim.GoodToken, key: "another", want: canonical.ProviderRejected},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := simulate(t, func(c *mypossim.Config) { c.APIKey = tt.key })
			q := testQuery()
			q.Token = tt.token
			_, err := p.Accounts(t.Context(), q)
			wantKind(t, err, tt.want)
		})
	}
}

// The part of an error response that is read is limited.
func TestEndlessRefusalsAreNotReadToTheEnd(t *testing.T) {
	const quota = "Maximum access quota is reached!"
	text := func(before int) string {
		return `{"code":429,"description":"` + strings.Repeat("x", before) + quota + `"}`
	}
	list := func(before int) string {
		return `{"tppMessages":[` + strings.Repeat(`{"text":"x"},`, before) + `{"text":"` + quota + `"}]}`
	}
	for body, want := range map[string]canonical.Kind{
		text(16_000): canonical.UnattendedLimit, text(16_400): canonical.ProviderThrottled,
		list(199): canonical.UnattendedLimit, list(200): canonical.ProviderThrottled,
		strings.Repeat("x", 16_000) + quota: canonical.UnattendedLimit, strings.Repeat("x", 16_400) + quota: canonical.ProviderThrottled,
	} {
		got := classifier.Classify(unattendedQuery(), providers.Request{}, providers.Response{Status: http.StatusTooManyRequests, Body: []byte(body)})
		if got.Kind != want {
			t.Errorf("%.60s… of %d bytes is %s, want %s", body, len(body), got.Kind, want)
		}
	}
}

// TestTokenAndConsentAreToldApart checks which errors reject only the token. Any caller can invent
// a token.
func TestTokenAndConsentAreToldApart(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		want   canonical.Kind
		token  bool
	}{
		{401, tpp("TOKEN_EXPIRED"), canonical.ConsentExpired, true},
		{401, tpp("TOKEN_INVALID"), canonical.ConsentInvalid, true},
		{403, tpp("token_unknown"), canonical.ConsentInvalid, true},
		{401, "", canonical.ConsentInvalid, true},
		{401, "<html>Unauthorized</html>", canonical.ConsentInvalid, true},
		{401, tpp("PSU_CREDENTIALS_INVALID"), canonical.ConsentInvalid, true},
		{401, tpp("CONSENT_OF_A_NEW_KIND"), canonical.ConsentInvalid, true},
		{401, tpp("CONSENT_EXPIRED"), canonical.ConsentExpired, false},
		{401, tpp("CONSENT_INVALID"), canonical.ConsentInvalid, false},
		{403, tpp("CONSENT_UNKNOWN"), canonical.ConsentInvalid, false},
		{401, tpp("TOKEN_EXPIRED", "CONSENT_INVALID"), canonical.ConsentExpired, false},
		{401, tpp("CONSENT_EXPIRED", "TOKEN_EXPIRED"), canonical.ConsentExpired, false},
		{404, tpp("RESOURCE_UNKNOWN"), canonical.AccountUnknown, false},
		{401, tpp("CERTIFICATE_EXPIRED"), canonical.ProviderRejected, false},
		{429, tpp("ACCESS_EXCEEDED"), canonical.UnattendedLimit, false},
		{500, "", canonical.ProviderError, false},
	} {
		got := classifier.Classify(unattendedQuery(), providers.Request{Account: "1"}, providers.Response{Status: tt.status, Body: []byte(tt.body)})
		if got.Kind != tt.want || got.TokenRejected != tt.token {
			t.Errorf("%d %s is %s, token rejected %t; want %s, %t", tt.status, tt.body, got.Kind, got.TokenRejected, tt.want, tt.token)
		}
	}
}

// TestLostRoutes checks that a 404 of a proxy in front of the provider's API does not mean an
// unknown account.
func TestLostRoutes(t *testing.T) {
	for body, want := range map[string]canonical.Kind{
		"": canonical.AccountUnknown, " \r\n": canonical.AccountUnknown, "{}": canonical.AccountUnknown, `{"status":404}`: canonical.AccountUnknown,
		tpp("RESOURCE_UNKNOWN"):                               canonical.AccountUnknown,
		tpp("SOMETHING_NEW"):                                  canonical.AccountUnknown,
		`{"code":404,"description":"Account not found"}`:      canonical.AccountUnknown,
		`{"message":"The account does not exist"}`:            canonical.AccountUnknown,
		`{"title":"Unknown account","path":"/v1/accounts/1"}`: canonical.AccountUnknown,
		`{"errorCode":"resource_unknown"}`:                    canonical.AccountUnknown,

		"<!DOCTYPE html><html><body><h1>Not Found</h1></body></html>":                        canonical.ProviderRejected,
		"<html>Account not found</html>":                                                     canonical.ProviderRejected,
		"404 page not found":                                                                 canonical.ProviderRejected,
		"Not Found":                                                                          canonical.ProviderRejected,
		"Cannot GET /v1/accounts/1/balances":                                                 canonical.ProviderRejected,
		"default backend - 404":                                                              canonical.ProviderRejected,
		`{"message":"no route matches"}`:                                                     canonical.ProviderRejected,
		`{"message":"no Route matched with those values"}`:                                   canonical.ProviderRejected,
		`{"statusCode":404,"message":"Resource not found"}`:                                  canonical.ProviderRejected,
		`{"error":"Not Found","path":"/v1/accounts/1/balances"}`:                             canonical.ProviderRejected,
		`{"type":"about:blank","title":"Not Found","status":404}`:                            canonical.ProviderRejected,
		`{"code":"404","type":"Status report","message":"Not Found"}`:                        canonical.ProviderRejected,
		`{"fault":{"faultstring":"Unable to identify proxy for host"}}`:                      canonical.ProviderRejected,
		`{"httpCode":"404","moreInformation":"No resources match requested URI"}`:            canonical.ProviderRejected,
		`{"tppMessages":[{"category":"ERROR","code":"NOT_FOUND","text":"route not found"}]}`: canonical.ProviderRejected,
	} {
		got := classifier.Classify(unattendedQuery(), providers.Request{Account: "1"}, providers.Response{Status: http.StatusNotFound, Body: []byte(body)})
		if got.Kind != want || got.TokenRejected {
			t.Errorf("%s is %s, want %s", body, got.Kind, want)
		}
		if want != canonical.AccountUnknown {
			continue
		}
		got = classifier.Classify(unattendedQuery(), providers.Request{}, providers.Response{Status: http.StatusNotFound, Body: []byte(body)})
		if wantList := canonical.ProviderRejected; got.Kind != wantList && !strings.Contains(strings.ToUpper(body), "RESOURCE_UNKNOWN") {
			t.Errorf("%s of the list is %s", body, got.Kind)
		}
	}
}

// TestStatusesOfAMoment checks the temporary statuses.
func TestStatusesOfAMoment(t *testing.T) {
	for _, status := range []int{408, 409, 421, 423, 424, 425, 499} {
		for _, body := range []string{"", "<html>", `{"message":"x"}`} {
			got := classifier.Classify(unattendedQuery(), providers.Request{Account: "1"}, providers.Response{Status: status, Body: []byte(body)})
			if got.Kind != canonical.ProviderError {
				t.Errorf("%d %s is %s", status, body, got.Kind)
			}
		}
	}
}

// TestLimitOrRateLimit reads bodies in the form of other providers.
func TestLimitOrRateLimit(t *testing.T) {
	for body, want := range map[string]canonical.Kind{
		`{"title":"Too Many Requests","detail":"The API Request Quota is exhausted; retry after 21 seconds"}`:                                              canonical.ProviderThrottled,
		`{"type":"RATE_LIMIT_ERROR","message":"How many requests may be made is restricted to a quota, which is reached"}`:                                 canonical.ProviderThrottled,
		`{"type":"urn:problem-type:belgif:tooManyRequests","status":429,"detail":"The quota of this consumer was exceeded","limit":10,"retryAfterSec":30}`: canonical.ProviderThrottled,
		`{"message":"Quota of 5 requests per 10 seconds exceeded, try again in 3 s"}`:                                                                      canonical.ProviderThrottled,
		`{"type":"urn:x:tooManyRequests","detail":"The quota was exceeded"}`:                                                                               canonical.ProviderThrottled,
		`{"errorcode":"policies.ratelimit.QuotaViolation","message":"quota exceeded"}`:                                                                     canonical.ProviderThrottled,
		`{"fault":{"faultstring":"Quota exceeded","detail":{"errorcode":"policies.ratelimit.QuotaViolation"}}}`:                                            canonical.ProviderThrottled,
		`{"title":"Rate limit","detail":"Maximum access quota is reached!"}`:                                                                               canonical.ProviderThrottled,
		`{"message":"access quota: 100 per 1m"}`:                                                                                                           canonical.ProviderThrottled,
		`<html><title>Quota exceeded</title></html>`:                                                                                                       canonical.ProviderThrottled,

		`{"code":429,"description":"Maximum access quota is reached!"}`:                              canonical.UnattendedLimit,
		`{"title":"Too Many Requests","detail":"Maximum access quota is reached!"}`:                  canonical.UnattendedLimit,
		`{"error":"Too Many Requests","message":"Quota exceeded","path":"/api/v1/accounts/1"}`:       canonical.UnattendedLimit,
		`{"tppMessages":[{"code":"access_exceeded","text":"10 requests per second"}]}`:               canonical.UnattendedLimit,
		`{"errorCode":"Access_Exceeded"}`:                                                            canonical.UnattendedLimit,
		`{"type":"https://example.com/ACCESS_EXCEEDED","title":"API rate limit"}`:                    canonical.UnattendedLimit,
		`{"message":"The maximum number of accesses per day is reached"}`:                            canonical.UnattendedLimit,
		`{"tppMessages":[{"category":"WARNING","text":"rate limit"},{"text":"access limit"}]}`:       canonical.UnattendedLimit,
		`{"tppMessages":[{"category":"WARNING","code":"ACCESS_EXCEEDED"}],"message":"rate limited"}`: canonical.ProviderThrottled,
	} {
		got := classifier.Classify(unattendedQuery(), providers.Request{Account: "1"}, providers.Response{Status: http.StatusTooManyRequests, Body: []byte(body)})
		if got.Kind != want {
			t.Errorf("%s is %s, want %s", body, got.Kind, want)
		}
	}
}

// TestOwnTextSaysNothing checks errors that repeat the account's id.
func TestOwnTextSaysNothing(t *testing.T) {
	for id, refused := range map[string]struct {
		status int
		body   string
		want   canonical.Kind
	}{
		"access quota":    {429, `{"message":"No more calls for access%20quota"}`, canonical.ProviderThrottled},
		"unattended":      {429, "Account UNATTENDED: too many requests", canonical.ProviderThrottled},
		"PSU-IP-Address":  {400, `{"tppMessages":[{"code":"FORMAT_ERROR","text":"PSU-IP-Address is no account"}]}`, canonical.ProviderRejected},
		"CONSENT_EXPIRED": {401, `{"code":"X","resource":"CONSENT_EXPIRED"}`, canonical.ConsentInvalid},

		// Ids with separators, of which the end of a path is a part.
		"x:CONSENT_INVALID":       {404, `{"instance":"/v1/accounts/x:CONSENT_INVALID"}`, canonical.ProviderRejected},
		"x/CONSENT_INVALID":       {404, `{"instance":"/v1/accounts/x/CONSENT_INVALID/"}`, canonical.ProviderRejected},
		"x#CONSENT_INVALID":       {404, `{"instance":"https://bank.example/v1/accounts/x#CONSENT_INVALID"}`, canonical.ProviderRejected},
		"x:ACCESS_EXCEEDED":       {500, `{"instance":"/v1/accounts/x:ACCESS_EXCEEDED"}`, canonical.ProviderError},
		"x/ACCESS_EXCEEDED":       {500, `{"about":["https://bank.example/x/ACCESS_EXCEEDED"]}`, canonical.ProviderError},
		"x#ACCESS_EXCEEDED":       {500, `{"type":"urn:account:x#access_exceeded"}`, canonical.ProviderError},
		"x:y:RESOURCE_UNKNOWN":    {500, `{"type":"urn:account:x:y:RESOURCE_UNKNOWN"}`, canonical.ProviderError},
		"x:CERTIFICATE_EXPIRED":   {500, `{"instance":"/v1/accounts/x:CERTIFICATE_EXPIRED"}`, canonical.ProviderError},
		"x:daily access":          {429, `{"instance":"/v1/accounts/x:daily access"}`, canonical.ProviderThrottled},
		"unattended/4:daily":      {429, `{"instance":"/v1/accounts/unattended/4:daily"}`, canonical.ProviderThrottled},
		"access#limit":            {429, `{"instance":"/v1/accounts/access#limit"}`, canonical.ProviderThrottled},
		"x:PSU-IP-Address":        {400, `{"instance":"/v1/accounts/x:PSU-IP-Address"}`, canonical.ProviderRejected},
		"x:account%20not%20found": {404, `{"instance":"/v1/accounts/x:account%20not%20found","title":"no route"}`, canonical.ProviderRejected},
		// The bank's own text counts, even if an id ends in the same text.
		"a:CONSENT_INVALID": {404, `{"code":"CONSENT_INVALID"}`, canonical.ConsentInvalid},
		"b:ACCESS_EXCEEDED": {500, `{"type":"https://bank.example/errors/ACCESS_EXCEEDED"}`, canonical.UnattendedLimit},
	} {
		got := classifier.Classify(unattendedQuery(), providers.Request{Account: id}, providers.Response{Status: refused.status, Body: []byte(refused.body)})
		if got.Kind != refused.want || got.Kind == canonical.ConsentInvalid && refused.status == 401 && !got.TokenRejected {
			t.Errorf("%q: %s is %s, token rejected %t, want %s", id, refused.body, got.Kind, got.TokenRejected, refused.want)
		}
	}
}
