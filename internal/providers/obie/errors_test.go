package obie

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
	"ais-gateway/internal/providers/obie/obiesim"
)

// v3 returns an error in the envelope of version 3, v4 in that of version 4.
func v3(code, message string) string {
	return fmt.Sprintf(`{"Code":"400 BadRequest","Id":"b2c1","Message":"Jordan Sample","Errors":[{"ErrorCode":%q,"Message":%q,"Path":"x"}]}`, code, message)
}

func v4(codes ...string) string {
	for i, code := range codes {
		codes[i] = fmt.Sprintf(`{"ErrorCode":%q}`, code)
	}
	return `{"Errors":[` + strings.Join(codes, ",") + `]}`
}

const (
	reauthenticate = "UK.OBIE.Reauthenticate"
	invalidStatus  = "UK.OBIE.Resource.InvalidConsentStatus"
	notFound       = "UK.OBIE.Resource.NotFound"
)

// TestErrors has a row for each form of an error response, and for each rule.
func TestErrors(t *testing.T) {
	const html = "<html><body><h1>The consent was revoked</h1></body></html>"
	tests := []struct {
		name     string
		status   int
		body     string
		attended bool
		read     string // "" for balances, "list" or "bulk"
		want     canonical.Kind
		token    bool
		code     string
	}{
		// Only the status.
		{name: "204", status: 204, want: canonical.ProviderInvalidResponse},
		{name: "201 has a code", status: 201, body: v3(reauthenticate, ""), want: canonical.ProviderInvalidResponse},
		{name: "302", status: 302, body: html, want: canonical.ProviderInvalidResponse},
		{name: "400", status: 400, want: canonical.ProviderRejected},
		{name: "401", status: 401, want: canonical.ConsentInvalid, token: true},
		{name: "401 HTML", status: 401, body: html, want: canonical.ConsentInvalid, token: true},
		{name: "403", status: 403, want: canonical.ProviderRejected},
		{name: "403 HTML", status: 403, body: html, want: canonical.ProviderRejected},
		{name: "404 balances", status: 404, want: canonical.ProviderRejected},
		{name: "404 list", status: 404, read: "list", want: canonical.ProviderRejected},
		{name: "404 bulk", status: 404, read: "bulk", want: canonical.ProviderRejected},
		{name: "404 bulk with a code", status: 404, read: "bulk", body: v3(notFound, ""), want: canonical.ProviderRejected, code: notFound},
		{name: "406", status: 406, want: canonical.ProviderRejected},
		{name: "408", status: 408, want: canonical.ProviderError},
		{name: "429", status: 429, want: canonical.ProviderThrottled},
		{name: "500", status: 500, body: html, want: canonical.ProviderError},
		{name: "503", status: 503, want: canonical.ProviderUnavailable},
		{name: "504", status: 504, want: canonical.ProviderTimeout},

		// Codes.
		{name: "reauthenticate", status: 403, body: v3(reauthenticate, ""), want: canonical.ConsentExpired, code: reauthenticate},
		{name: "reauthenticate at 401", status: 401, body: v3(reauthenticate, ""), want: canonical.ConsentExpired, code: reauthenticate},
		{name: "reauthenticate in v4", status: 403, body: v4(reauthenticate), want: canonical.ConsentExpired, code: reauthenticate},
		{name: "invalid status at 400", status: 400, body: v3(invalidStatus, "Revoked"), want: canonical.ConsentInvalid, code: invalidStatus},
		{name: "invalid status at 403", status: 403, body: v3(invalidStatus, ""), want: canonical.ConsentInvalid, code: invalidStatus},
		{name: "in capitals, padded", status: 403, body: v3(" UK.OBIE.RESOURCE.INVALIDCONSENTSTATUS ", ""), want: canonical.ConsentInvalid, code: "UK.OBIE.RESOURCE.INVALIDCONSENTSTATUS"},
		{name: "without its prefix", status: 403, body: v3("Resource.InvalidConsentStatus", ""), want: canonical.ConsentInvalid, code: "Resource.InvalidConsentStatus"},
		{name: "account unknown", status: 400, body: v3(notFound, ""), want: canonical.AccountUnknown, code: notFound},
		{name: "account unknown, list", status: 400, read: "list", body: v3(notFound, ""), want: canonical.AccountUnknown, code: notFound},
		{name: "account unknown at 404", status: 404, body: v3(notFound, ""), want: canonical.AccountUnknown, code: notFound},
		{name: "not found at 403", status: 403, body: v3(notFound, ""), want: canonical.ProviderRejected, code: notFound},
		{name: "field at 400", status: 400, body: v3("UK.OBIE.Field.Invalid", ""), want: canonical.ProviderRejected, code: "UK.OBIE.Field.Invalid"},
		{name: "field at 401", status: 401, body: v3("UK.OBIE.Field.Invalid", ""), want: canonical.ConsentInvalid, token: true, code: "UK.OBIE.Field.Invalid"},
		{name: "field at 403", status: 403, body: v3("UK.OBIE.Field.Invalid", ""), want: canonical.ProviderRejected, code: "UK.OBIE.Field.Invalid"},
		{name: "code of the ASPSP", status: 400, body: v4("U011"), want: canonical.ConsentInvalid, code: "U011"},
		{name: "code of the ASPSP, in lower case", status: 429, body: v4("u012"), want: canonical.UnattendedLimit, code: "u012"},
		{name: "code of the ASPSP before ours", status: 400, body: v3("UK.OBIE.Resource.ConsentMismatch", ""), want: canonical.ConsentExpired, code: "UK.OBIE.Resource.ConsentMismatch"},
		{name: "code of v4 that is not listed", status: 400, body: v4("U099"), want: canonical.ProviderRejected, code: "U099"},
		{name: "code that is a sentence", status: 400, body: v3("Jordan Sample", ""), want: canonical.ProviderRejected},

		// Several errors: the most specific decides.
		{name: "several", status: 400, body: v4("UK.OBIE.Field.Invalid", notFound, invalidStatus, reauthenticate), want: canonical.ConsentExpired, code: reauthenticate},
		{name: "consent before account", status: 400, body: v4(notFound, invalidStatus), want: canonical.ConsentInvalid, code: invalidStatus},
		{name: "first code if none is known", status: 400, body: v4("UK.OBIE.A", "UK.OBIE.B"), want: canonical.ProviderRejected, code: "UK.OBIE.A"},
		{name: "an error without a code first", status: 400, body: `{"Errors":[{"Message":"x"},{"ErrorCode":"UK.OBIE.B"}]}`, want: canonical.ProviderRejected, code: "UK.OBIE.B"},
		{name: "code of the envelope alone", status: 400, body: `{"Code":"UK.OBIE.Reauthenticate"}`, want: canonical.ConsentExpired, code: reauthenticate},

		// Other bodies.
		{name: "code and message", status: 403, body: `{"code":"Resource.InvalidConsentStatus","message":"x"}`, want: canonical.ConsentInvalid, code: "Resource.InvalidConsentStatus"},
		{name: "number as code", status: 400, body: `{"code":400,"message":"x"}`, want: canonical.ProviderRejected},
		{name: "within Data", status: 403, body: `{"Data":{"code":"UK.OBIE.Reauthenticate","message":"x"}}`, want: canonical.ConsentExpired, code: reauthenticate},
		{name: "within error-json", status: 400, body: `{"error-json":` + v3(notFound, "") + `}`, want: canonical.AccountUnknown, code: notFound},
		{name: "error-json is a text", status: 401, body: `{"error-json":"consent has expired"}`, want: canonical.ConsentExpired},
		{name: "errors are one error", status: 403, body: `{"Errors":{"ErrorCode":"UK.OBIE.Reauthenticate"}}`, want: canonical.ConsentExpired, code: reauthenticate},
		{name: "errors are a number", status: 403, body: `{"Errors":7,"Code":"UK.OBIE.Reauthenticate"}`, want: canonical.ConsentExpired, code: reauthenticate},
		{name: "a null error", status: 403, body: `{"Errors":[null,{"ErrorCode":"UK.OBIE.Reauthenticate"}]}`, want: canonical.ConsentExpired, code: reauthenticate},
		{name: "members of odd types", status: 403, body: `{"Code":[],"Message":{},"Errors":[{"ErrorCode":"UK.OBIE.Reauthenticate","Message":7}]}`, want: canonical.ConsentExpired, code: reauthenticate},
		{name: "a list", status: 403, body: `[{"ErrorCode":"UK.OBIE.Reauthenticate"}]`, want: canonical.ConsentExpired, code: reauthenticate},
		{name: "a member twice", status: 403, body: `{"Code":"UK.OBIE.Reauthenticate","code":"x"}`, want: canonical.ProviderRejected},
		{name: "null", status: 401, body: `null`, want: canonical.ConsentInvalid, token: true},
		{name: "plain text", status: 401, body: `The consent has expired`, want: canonical.ConsentExpired},
		{name: "binary", status: 401, body: "\xff\x00\xfe", want: canonical.ConsentInvalid, token: true},

		// Wording.
		{name: "token expired", status: 401, body: v3("UK.OBIE.Field.Invalid", "The access token has expired"), want: canonical.ConsentExpired, token: true, code: "UK.OBIE.Field.Invalid"},
		{name: "consent expired", status: 401, body: v3("x", "The consent has expired"), want: canonical.ConsentExpired, code: "x"},
		{name: "expired at 403", status: 403, body: v3("x", "It has expired"), want: canonical.ProviderRejected, code: "x"},
		{name: "consent expired at 500", status: 500, body: v3("x", "The consent has expired"), want: canonical.ProviderError, code: "x"},
		{name: "revoked at 403", status: 403, body: `{"Data":{"code":"x","message":"Access Revoked"}}`, want: canonical.ConsentInvalid, code: "x"},
		{name: "revoked at 500", status: 500, body: v3("x", "Revoked"), want: canonical.ProviderError, code: "x"},
		{name: "consent not authorised", status: 403, body: v3(notFound, "Consent not authorised"), want: canonical.ConsentInvalid, code: notFound},
		{name: "certificate expired", status: 401, body: v3("x", "The certificate has expired"), want: canonical.ProviderRejected, code: "x"},
		{name: "certificate revoked", status: 403, body: v3("x", "The certificate was revoked"), want: canonical.ProviderRejected, code: "x"},
		{name: "429 unattended", status: 429, body: v3("x", "Limit of unattended access reached"), want: canonical.UnattendedLimit, code: "x"},
		{name: "429 unattended, attended", status: 429, body: v3("x", "Limit of unattended access reached"), attended: true, want: canonical.UnattendedLimit, code: "x"},
		{name: "429 four times a day", status: 429, body: v3("x", "More than four times a day"), want: canonical.UnattendedLimit, code: "x"},
		{name: "429 a rate", status: 429, body: v3("x", "More than 10 requests per second"), want: canonical.ProviderThrottled, code: "x"},
		{name: "429 a quota without an owner", status: 429, body: v3("x", "Quota used up"), want: canonical.ProviderThrottled, code: "x"},
		{name: "429 unattended rate", status: 429, body: v3("x", "Unattended: slow down"), want: canonical.ProviderThrottled, code: "x"},
		{name: "unattended at 403", status: 403, body: v3("x", "Limit of unattended access reached"), want: canonical.ProviderRejected, code: "x"},
		{name: "address required", status: 400, body: v3("UK.OBIE.Header.Missing", "x-fapi-customer-ip-address is required"), want: canonical.UnattendedLimit, code: "UK.OBIE.Header.Missing"},
		{name: "address required, by path", status: 400, body: `{"Errors":[{"ErrorCode":"UK.OBIE.Header.Missing","Path":"x-fapi-customer-ip-address"}]}`, want: canonical.UnattendedLimit, code: "UK.OBIE.Header.Missing"},
		{name: "address of the user required", status: 400, body: v3("x", "The IP address of the PSU is missing"), want: canonical.UnattendedLimit, code: "x"},
		{name: "address required, attended", status: 400, body: v3("x", "x-fapi-customer-ip-address is required"), attended: true, want: canonical.ProviderRejected, code: "x"},
		{name: "address at 403", status: 403, body: v3("x", "x-fapi-customer-ip-address is required"), want: canonical.ProviderRejected, code: "x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q, r := unattendedQuery(), providers.Request{Account: "1"}
			if tt.attended {
				q = testQuery()
			}
			if tt.read != "" {
				r = providers.Request{AllBalances: tt.read == "bulk"}
			}
			got := classify(q, r, providers.Response{Status: tt.status, Body: []byte(tt.body)})
			origin := canonical.OriginProvider
			if tt.want == canonical.UnattendedLimit {
				origin = canonical.OriginASPSP
			}
			if got.Kind != tt.want || got.Origin != origin || got.TokenRejected != tt.token {
				t.Errorf("is %s from %s, token %t, want %s from %s, token %t", got.Kind, got.Origin, got.TokenRejected, tt.want, origin, tt.token)
			}
			if want := (canonical.UpstreamError{HTTPStatus: tt.status, ReasonCode: tt.code}); *got.Upstream != want {
				t.Errorf("shows %+v, want %+v", *got.Upstream, want)
			}
			if text := fmt.Sprintf("%s %+v", got.Error(), *got.Upstream); strings.Contains(text, "Sample") || strings.Contains(text, "b2c1") {
				t.Errorf("shows the bank's text: %s", text)
			}
		})
	}
}

// classify returns the error of a response of an ASPSP with codes of its own.
func classify(q canonical.Query, r providers.Request, resp providers.Response) *canonical.Error {
	p := &provider{aspsps: map[string]*aspsp{testASPSP: {codes: map[string]canonical.Kind{
		"u011": canonical.ConsentInvalid, "u012": canonical.UnattendedLimit, "resource.consentmismatch": canonical.ConsentExpired,
	}}}}
	return p.classifyError(q, r, resp)
}

// TestRulesHaveARank checks that each kind of a rule can decide.
func TestRulesHaveARank(t *testing.T) {
	for _, rule := range errorRules {
		if !adapter.MoreSpecific(rule.kind, "") {
			t.Errorf("%s never decides", rule.kind)
		}
		if rule.code != plainCode(rule.code) {
			t.Errorf("%s is not in lower case", rule.code)
		}
	}
}

// TestRowsAreNeeded checks that each rule decides a response that no other rule decides like that.
func TestRowsAreNeeded(t *testing.T) {
	type result struct {
		kind  canonical.Kind
		token bool
	}
	responses := []providers.Response{
		{Status: 403, Body: []byte(v3(reauthenticate, ""))},
		{Status: 403, Body: []byte(v3(invalidStatus, ""))},
		{Status: 400, Body: []byte(v3(notFound, ""))},
		{Status: 401, Body: []byte(v3("x", "certificate expired"))},
		{Status: 403, Body: []byte(v3("x", "revoked"))},
		{Status: 403, Body: []byte(v3("x", "consent not authorised"))},
		{Status: 401, Body: []byte(v3("x", "consent expired"))},
		{Status: 401, Body: []byte(v3("x", "token expired"))},
	}
	all := func() (found []result) {
		for _, resp := range responses {
			e := classify(unattendedQuery(), providers.Request{Account: "1"}, resp)
			found = append(found, result{e.Kind, e.TokenRejected})
		}
		return found
	}
	rules, want := errorRules, all()
	defer func() { errorRules = rules }()
	for i, rule := range rules {
		errorRules = slices.Delete(slices.Clone(rules), i, i+1)
		if slices.Equal(all(), want) {
			t.Errorf("without %+v no response is read differently", rule)
		}
	}
}

// TestTextsOfTheRequestSayNothing checks that ids which the bank repeats are not read as a cause.
func TestTextsOfTheRequestSayNothing(t *testing.T) {
	q := unattendedQuery()
	q.Consent = "consent-expired"
	for _, body := range []string{
		v3("x", "Not possible for revoked account"), v3("x", "consent-expired"), `{"Errors":[{"ErrorCode":"UK.OBIE.Resource.NotFound"}]}`,
	} {
		account := map[bool]string{true: notFound, false: "revoked account"}[strings.Contains(body, "NotFound")]
		got := classify(q, providers.Request{Account: account}, providers.Response{Status: 400, Body: []byte(body)})
		if got.Kind != canonical.ProviderRejected {
			t.Errorf("%s is %s", body, got.Kind)
		}
	}
}

// TestErrorOfAnotherRequest checks that the error of another request says nothing.
func TestErrorOfAnotherRequest(t *testing.T) {
	for _, status := range []int{400, 401, 429, 500} {
		resp := providers.Response{Status: status, Body: []byte(v3(invalidStatus, "")), Header: http.Header{}}
		resp.Header.Add("X-Fapi-Interaction-Id", testRequestID)
		resp.Header.Add("X-Fapi-Interaction-Id", "99391c7e-ad88-49ec-a2ad-99ddcb1f7721")
		got := classify(unattendedQuery(), providers.Request{}, resp)
		if got.Kind != canonical.ProviderInvalidResponse || got.Upstream == nil || got.Upstream.HTTPStatus != status || got.Upstream.ReasonCode != "" {
			t.Errorf("%d: %v, %+v", status, got, got.Upstream)
		}
		resp.Header = http.Header{"X-Fapi-Interaction-Id": {strings.ToUpper(testRequestID), ""}}
		if got := classify(unattendedQuery(), providers.Request{}, resp); got.Kind != canonical.ConsentInvalid {
			t.Errorf("%d, the same id in capitals: %v", status, got)
		}
	}
}

// TestEndlessErrors checks that a large error response is read in part.
func TestEndlessErrors(t *testing.T) {
	many := `{"Errors":[` + strings.Repeat(`{"ErrorCode":"UK.OBIE.Field.Invalid","Message":"`+strings.Repeat("x ", 100)+`"},`, 3000) + `{"ErrorCode":"UK.OBIE.Reauthenticate"}]}`
	if got := classify(unattendedQuery(), providers.Request{}, providers.Response{Status: 400, Body: []byte(many)}); got.Kind != canonical.ProviderRejected {
		t.Errorf("%v", got)
	}
	nested := strings.Repeat(`{"Errors":[`, 15) + `{"ErrorCode":"UK.OBIE.Reauthenticate"}` + strings.Repeat(`]}`, 15)
	if got := classify(unattendedQuery(), providers.Request{}, providers.Response{Status: 400, Body: []byte(nested)}); got.Kind != canonical.ConsentExpired {
		t.Errorf("%v", got)
	}
}

// TestRefusalsOfTheSimulator reads every refusal of the simulator, of banks of both versions.
func TestRefusalsOfTheSimulator(t *testing.T) {
	for consent, want := range map[string]struct {
		kind  canonical.Kind
		token bool
		wait  time.Duration
	}{
		obiesim.Consent400Status:      {kind: canonical.ConsentInvalid},
		obiesim.Consent400NotFound:    {kind: canonical.AccountUnknown},
		obiesim.Consent400Field:       {kind: canonical.ProviderRejected},
		obiesim.Consent400Address:     {kind: canonical.ProviderRejected}, // attended
		obiesim.Consent400ErrorJSON:   {kind: canonical.AccountUnknown},
		obiesim.Consent401Bare:        {kind: canonical.ConsentInvalid, token: true},
		obiesim.Consent401Expired:     {kind: canonical.ConsentExpired},
		obiesim.Consent401Certificate: {kind: canonical.ProviderRejected},
		obiesim.Consent403Bare:        {kind: canonical.ProviderRejected},
		obiesim.Consent403Reauth:      {kind: canonical.ConsentExpired},
		obiesim.Consent403Status:      {kind: canonical.ConsentInvalid},
		obiesim.Consent403Revoked:     {kind: canonical.ConsentInvalid},
		obiesim.Consent429Throttled:   {kind: canonical.ProviderThrottled, wait: 7 * time.Second},
		obiesim.Consent429Unattended:  {kind: canonical.UnattendedLimit},
		obiesim.Consent500:            {kind: canonical.ProviderError},
		obiesim.Consent503:            {kind: canonical.ProviderUnavailable, wait: 2 * time.Minute},
		obiesim.Consent504:            {kind: canonical.ProviderTimeout},
	} {
		for _, version := range []string{obiesim.V3, obiesim.V4} {
			t.Run(consent+" "+version, func(t *testing.T) {
				p, _ := simulate(t, obiesim.Bank{Version: version, Bulk: true}, Options{Version: version, AllBalances: true})
				for read, call := range reads(p, queryOf(consent)) {
					failure := wantKind(t, call(t), want.kind)
					if failure.TokenRejected != want.token || failure.RetryAfter != want.wait {
						t.Errorf("%s: token %t, retry after %v", read, failure.TokenRejected, failure.RetryAfter)
					}
					if failure.RejectsConsent() != (!want.token && (want.kind == canonical.ConsentExpired || want.kind == canonical.ConsentInvalid)) {
						t.Errorf("%s: rejects the consent: %t", read, failure.RejectsConsent())
					}
				}
			})
		}
	}
}

// TestTokens checks that an unknown and an expired token are not the consent's fault.
func TestTokens(t *testing.T) {
	p, _ := simulate(t, obiesim.Bank{}, Options{})
	for token, kind := range map[string]canonical.Kind{"invented": canonical.ConsentInvalid, obiesim.ExpiredToken: canonical.ConsentExpired} {
		q := testQuery()
		q.Token = canonical.Secret(token)
		_, err := p.Accounts(t.Context(), q)
		if failure := wantKind(t, err, kind); !failure.TokenRejected || failure.RejectsConsent() {
			t.Errorf("%s: %+v", token, failure)
		}
	}
}

// TestOwnCodeDecidesFirst checks that a code of the ASPSP's options decides before every other error,
// the wording and the status.
func TestOwnCodeDecidesFirst(t *testing.T) {
	own := Options{AllBalances: true, Codes: map[string]string{"X.Own": "PROVIDER_REJECTED", "X.Token": "CONSENT_INVALID", "X.Gone": "CONSENT_EXPIRED"}}
	for _, tt := range []struct {
		status int
		body   string
		want   canonical.Kind
		token  bool
	}{
		{http.StatusUnauthorized, `{"Code":"401","Message":"consent expired","Errors":[{"ErrorCode":"X.Own"}]}`, canonical.ProviderRejected, false},
		{http.StatusTooManyRequests, `{"Errors":[{"ErrorCode":"UK.OBIE.X.Own","Message":"unattended access limit"}]}`, canonical.ProviderRejected, false},
		{http.StatusNotFound, `{"Errors":[{"ErrorCode":"X.Gone"}]}`, canonical.ConsentExpired, false},
		{http.StatusForbidden, `{"Errors":[{"ErrorCode":"x.token"}]}`, canonical.ConsentInvalid, true},
	} {
		p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			_, _ = w.Write([]byte(tt.body))
		}), own, nil)
		_, err := p.AllBalances(t.Context(), testQuery())
		if failure := wantKind(t, err, tt.want); failure.TokenRejected != tt.token {
			t.Errorf("%s: token rejected %t, want %t", tt.body, failure.TokenRejected, tt.token)
		}
	}
}
