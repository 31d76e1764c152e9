package mastercard

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
)

func refuse(status int, body string, change func(*canonical.Query)) *canonical.Error {
	return classifyError(query(change), providers.Request{}, providers.Response{Status: status, Body: []byte(body)})
}

func envelope(errs string) string { return `{"Errors":{"Error":[` + errs + `]}}` }

// wordings contains at least one error for each rule. row is the rule's reason, or its phrases.
var wordings = []struct {
	row                 string
	reason, description string
	kind                canonical.Kind
}{
	{"FORMAT_ERROR when is live psu request", "FORMAT_ERROR", "Conditional field psuIPAddress is expected when isLivePsuRequest='true'", canonical.ProviderRejected},
	{"FORMAT_ERROR address", "FORMAT_ERROR", "PSU-IP-Address is missing", canonical.UnattendedLimit},
	{"FORMAT_ERROR address", " format_error ", "The IP address of the user is required", canonical.UnattendedLimit},
	{"FORMAT_ERROR", "FORMAT_ERROR", "Object instance has properties which are not allowed by the schema", canonical.ProviderRejected},
	{"INVALID_TOKEN expired", " INVALID_TOKEN ", "Access Token associated with the Request has expired", canonical.ConsentExpired},
	{"INVALID_TOKEN", "INVALID_TOKEN", "Access Token associated with the Request is invalid or has been revoked", canonical.ConsentInvalid},
	{"INVALID_TOKEN", "invalid_token", "", canonical.ConsentInvalid},
	{"AUTHENTICATION_FAILED", "AUTHENTICATION_FAILED", "oauth token expired", canonical.ProviderRejected},
	{"CONSENT_EXPIRED", "CONSENT_EXPIRED", "", canonical.ConsentExpired},
	{"TOKEN_EXPIRED", "TOKEN_EXPIRED", "", canonical.ConsentExpired},
	{"CONSENT_INVALID", "CONSENT_INVALID", "", canonical.ConsentInvalid},
	{"CONSENT_UNKNOWN", "CONSENT_UNKNOWN", "", canonical.ConsentInvalid},
	{"TOKEN_INVALID", "TOKEN_INVALID", "", canonical.ConsentInvalid},
	{"TOKEN_UNKNOWN", "TOKEN_UNKNOWN", "", canonical.ConsentInvalid},
	{"RESOURCE_UNKNOWN", "RESOURCE_UNKNOWN", "", canonical.AccountUnknown},
	{"ACCESS_EXCEEDED", " access_exceeded", "", canonical.UnattendedLimit},
	{"CERTIFICATE_", "CERTIFICATE_EXPIRED", "", canonical.ProviderRejected},
	{"CERTIFICATE_", " certificate_revoked ", "The consent is invalid", canonical.ProviderRejected},
	{"CERTIFICATE_", "Certificate_Of_A_New_Kind", "", canonical.ProviderRejected},
	{"SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE", "", canonical.ProviderUnavailable},
	{"sca,required", "PROVIDER_ERROR", "New SCA required", canonical.ConsentExpired},
	{"sca,required", "NEW_SCA_REQUIRED", "", canonical.ConsentExpired},
	{"sca,expired", "PROVIDER_ERROR", "The SCA used to access account information is expired.", canonical.ConsentExpired},
	{"strong customer authentication,required", "PROVIDER_ERROR", "Strong Customer Authentication is required.", canonical.ConsentExpired},
	{"strong customer authentication,needed", "PROVIDER_ERROR", "A new strong customer authentication will be needed", canonical.ConsentExpired},
	{"strong customer authentication,expired", "PROVIDER_ERROR", "The strong-customer-authentication has expired", canonical.ConsentExpired},
	{"consent,expired", "PROVIDER_ERROR", "Consent has expired", canonical.ConsentExpired},
	{"consent,expired", "PROVIDER_ERROR", "The bank answered CONSENT_EXPIRED", canonical.ConsentExpired},
	{"token,expired", "PROVIDER_ERROR", "Access Token associated with the Request has expired", canonical.ConsentExpired},
	{"access has expired", "PROVIDER_ERROR", "Access has expired or it has been revoked", canonical.ConsentExpired},
	{"access is expired", "PROVIDER_ERROR", "The access is expired", canonical.ConsentExpired},
	{"access expired", "PROVIDER_ERROR", "ACCESS_EXPIRED", canonical.ConsentExpired},
	{"reauthenticate", "PROVIDER_ERROR", "UK.OBIE.Reauthenticate", canonical.ConsentExpired},
	{"account is invalid", " PROVIDER_ERROR ", "Provided account is invalid or unlinked from the consent", canonical.AccountUnknown},
	{"account is invalid", "ACCOUNT_ERROR", "PROVIDED  ACCOUNT IS INVALID.", canonical.AccountUnknown},
	{"account,unlinked", "PROVIDER_ERROR", "Account was unlinked", canonical.AccountUnknown},
	{"account not found", "PROVIDER_ERROR", "Account not found", canonical.AccountUnknown},
	{"account was not found", "PROVIDER_ERROR", "The account was not found.", canonical.AccountUnknown},
	{"account could not be found", "PROVIDER_ERROR", "Account could not be found", canonical.AccountUnknown},
	{"account does not exist", "PROVIDER_ERROR", "This account does not exist", canonical.AccountUnknown},
	{"account unknown", "PROVIDER_ERROR", "ACCOUNT_UNKNOWN", canonical.AccountUnknown},
	{"account is unknown", "PROVIDER_ERROR", "The account is unknown", canonical.AccountUnknown},
	{"unknown account", "PROVIDER_ERROR", "Unknown account", canonical.AccountUnknown},
	{"no such account", "PROVIDER_ERROR", "There is no such account", canonical.AccountUnknown},
	{"resource unknown", "PROVIDER_ERROR", "400 RESOURCE_UNKNOWN", canonical.AccountUnknown},
	{"resource not found", "PROVIDER_ERROR", "UK.OBIE.Resource.NotFound", canonical.AccountUnknown},
	{"consent,revoked", "PROVIDER_ERROR", "Consent was revoked by the PSU", canonical.ConsentInvalid},
	{"consent is invalid", "PROVIDER_ERROR", "Consent is invalid", canonical.ConsentInvalid},
	{"consent id,invalid", "PROVIDER_ERROR", "The consent id used in the request is invalid", canonical.ConsentInvalid},
	{"consent invalid", "PROVIDER_ERROR", "The bank answered CONSENT_INVALID", canonical.ConsentInvalid},
	{"consent unknown", "PROVIDER_ERROR", "consent_unknown", canonical.ConsentInvalid},
	{"consent not found", "PROVIDER_ERROR", "Consent not found", canonical.ConsentInvalid},
	{"invalid consent", "PROVIDER_ERROR", "UK.OBIE.Resource.InvalidConsentStatus", canonical.ConsentInvalid},
	{"token,revoked", "PROVIDER_ERROR", "Token has been revoked", canonical.ConsentInvalid},
	{"token invalid", "PROVIDER_ERROR", "TOKEN_INVALID", canonical.ConsentInvalid},
	{"token is invalid", "PROVIDER_ERROR", "The token is invalid", canonical.ConsentInvalid},
	{"token unknown", "PROVIDER_ERROR", "TOKEN_UNKNOWN: no such token", canonical.ConsentInvalid},
	{"access,revoked", "PROVIDER_ERROR", "The access has been revoked", canonical.ConsentInvalid},
	{"unattended,limit", " PROVIDER_ERROR ", "ASPSP limit for unattended requests was exceeded", canonical.UnattendedLimit},
	{"unattended,limit", "UNATTENDED_LIMIT", "", canonical.UnattendedLimit},
	{"unattended,exceeded", "PROVIDER_ERROR", "Number of unattended requests exceeded", canonical.UnattendedLimit},
	{"access exceeded", "PROVIDER_ERROR", "The bank answered ACCESS_EXCEEDED", canonical.UnattendedLimit},
	{"address", "PROVIDER_ERROR", "PSU-IP-Address is required", canonical.UnattendedLimit},
	{"address", "PROVIDER_ERROR", "psuIPAddress is missing", canonical.UnattendedLimit},
	{"address", "PROVIDER_ERROR", "psuipaddress is missing", canonical.UnattendedLimit},
}

// name returns the name of a rule in wordings.
func (c errorRule) name() string {
	says := strings.Join(c.containsAll, ",")
	if c.address {
		says = "address"
	}
	return strings.TrimSpace(c.reason + " " + says)
}

func TestEveryWordingAtAnyStatus(t *testing.T) {
	t.Parallel()
	for _, w := range wordings {
		one := fmt.Sprintf(`{"ReasonCode":%q,"Description":%q}`, w.reason, w.description)
		for _, status := range []int{400, 401, 403, 404, 429, 500, 503, 504} {
			// Callers send no token to OBC: a token in an error is that of the consent.
			want := w.kind
			if other, says := map[int]canonical.Kind{429: canonical.ProviderThrottled, 504: canonical.ProviderTimeout}[status]; says && want == canonical.ProviderUnavailable {
				want = other // the status says more than a code for "out of order"
			}
			if got := refuse(status, envelope(one), nil); got.Kind != want || got.TokenRejected {
				t.Errorf("%d %s is %s, token rejected %t, want %s", status, one, got.Kind, got.TokenRejected, want)
			}
		}
	}
}

// An error that mentions the user's IP address means the limit only for an unattended call.
func TestMissingAddress(t *testing.T) {
	t.Parallel()
	const (
		missing  = `{"Source":"ASPSP","ReasonCode":"FORMAT_ERROR","Description":"PSU-IP-Address is missing"}`
		other    = `{"Source":"OBC","ReasonCode":"FORMAT_ERROR","Description":"Object instance has properties which are not allowed by the schema"}`
		ofAnID   = `{"ReasonCode":"FORMAT_ERROR","Description":"psuDeviceId is missing"}`
		gateways = `{"Source":"Gateway","ReasonCode":"FORMAT_ERROR","Description":"PSU-IP-Address is missing"}`
	)
	for errs, want := range map[string]canonical.Kind{
		missing: canonical.UnattendedLimit, other + "," + missing: canonical.UnattendedLimit,
		other: canonical.ProviderRejected, ofAnID: canonical.ProviderRejected, gateways: canonical.ProviderRejected,
	} {
		alone := refuse(400, envelope(errs), nil)
		if alone.Kind != want || want == canonical.UnattendedLimit && alone.Origin != canonical.OriginASPSP {
			t.Errorf("without the user %s is %v, want %s", errs, alone, want)
		}
		if got := refuse(400, envelope(errs), attended); got.Kind != canonical.ProviderRejected {
			t.Errorf("for the user %s is %s", errs, got.Kind)
		}
	}
}

// TestRowsAreNeeded checks that each rule is needed: without it, another kind results.
func TestRowsAreNeeded(t *testing.T) {
	t.Parallel()
	tested := map[string]bool{}
	for _, w := range wordings {
		e := wireError{ReasonCode: adapter.LenientString(w.reason), Description: adapter.LenientString(w.description)}
		said := parseError(e, adapter.NewWording(query(nil), providers.Request{}))
		first := slices.IndexFunc(errorRules, func(c errorRule) bool { return c.matches(said, false) })
		if first < 0 || errorRules[first].name() != w.row {
			t.Errorf("%q %q fits row %d first, want %q", w.reason, w.description, first, w.row)
			continue
		}
		tested[w.row] = true
	}
	for _, c := range errorRules {
		if !tested[c.name()] {
			t.Errorf("row %q is not tested", c.name())
		}
	}
}

// TestRulesHaveARank checks that a rule's kind has a rank, without which it never decides.
func TestRulesHaveARank(t *testing.T) {
	t.Parallel()
	for _, c := range errorRules {
		if !adapter.MoreSpecific(c.kind, "") {
			t.Errorf("rule %q: %s has no rank: add it to kindPriority in internal/providers/adapter/errors.go", c.name(), c.kind)
		}
	}
}

func TestEnvelopesAreReadTolerantly(t *testing.T) {
	t.Parallel()
	const e = `{"ReasonCode":"INVALID_TOKEN","Description":"has expired"}`
	for _, body := range []string{
		`{"Errors":{"Error":[` + e + `]}}`,
		`{"errors":{"error":[` + e + `]}}`,
		`{"ERRORS":{"Error":` + e + `}}`,
		`{"Errors":[` + e + `]}`,
		`{"Errors":` + e + `}`,
		`{"Error":[` + e + `]}`,
		e,
		`{"Errors":{"Error":[null,{},"text",` + e + `]}}`,
		`{"Errors":{"Error":[{"Source":null,"reasonCode":" Invalid_Token","description":"HAS  EXPIRED.","Details":{"a":[]},"Recoverable":"no"}]}}`,
		`{"Errors":{"Error":[{"Source":7,"ReasonCode":"INVALID_TOKEN","Description":"expired"}]}}`,
	} {
		got := refuse(400, body, nil)
		if got.Kind != canonical.ConsentExpired || got.Upstream.ReasonCode == "" {
			t.Errorf("%s is %v, upstream %+v", body, got, got.Upstream)
		}
	}
}

func TestTheMostTellingErrorDecides(t *testing.T) {
	t.Parallel()
	all := []struct {
		one  string
		kind canonical.Kind
	}{
		{`{"Source":"A","ReasonCode":"CONSENT_EXPIRED"}`, canonical.ConsentExpired},
		{`{"Source":"B","ReasonCode":"CONSENT_INVALID"}`, canonical.ConsentInvalid},
		{`{"Source":"C","ReasonCode":"RESOURCE_UNKNOWN"}`, canonical.AccountUnknown},
		{`{"Source":"D","ReasonCode":"ACCESS_EXCEEDED"}`, canonical.UnattendedLimit},
		{`{"Source":"E","ReasonCode":"FORMAT_ERROR"}`, canonical.ProviderRejected},
		{`{"Source":"F","ReasonCode":"SERVICE_UNAVAILABLE"}`, canonical.ProviderUnavailable},
		{`{"Source":"G","ReasonCode":"PROVIDER_ERROR"}`, canonical.ProviderError},
	}
	for i, more := range all {
		for _, less := range all[i+1:] {
			for _, body := range []string{envelope(more.one + "," + less.one), envelope(less.one + "," + more.one)} {
				got := refuse(400, body, nil)
				if got.Kind != more.kind || got.Upstream.Source != string(rune('A'+i)) {
					t.Errorf("%s is %s from %s, want %s", body, got.Kind, got.Upstream.Source, more.kind)
				}
			}
		}
	}
}

func TestStatusesWithoutACause(t *testing.T) {
	t.Parallel()
	gateway := envelope(`{"Source":"Gateway","ReasonCode":"SOMETHING_ELSE","Description":"token expired, SCA required","Recoverable":false,"Details":null}`)
	bare := envelope(`{"ReasonCode":" PROVIDER_ERROR ","Description":"cascade required"}`)
	obc := envelope(`{"Source":"OBC","ReasonCode":"PROVIDER_ERROR"}`)
	unknown := envelope(`{"Source":"OBC","ReasonCode":"SOMETHING_NEW"}`)
	aspsp := envelope(`{"Source":"ASPSP","ReasonCode":"SOMETHING_NEW"}`)
	quota := `{"code":429,"description":"Maximum access quota is reached!"}`
	tests := []struct {
		status int
		body   string
		kind   canonical.Kind
		origin canonical.Origin
	}{
		{204, "", canonical.ProviderInvalidResponse, canonical.OriginProvider},
		{302, "<html>", canonical.ProviderInvalidResponse, canonical.OriginProvider},
		{400, "", canonical.ProviderRejected, canonical.OriginProvider},
		{400, "<html>", canonical.ProviderRejected, canonical.OriginProvider},
		{400, "null", canonical.ProviderRejected, canonical.OriginProvider},
		{400, `{"Errors":null}`, canonical.ProviderRejected, canonical.OriginProvider},
		{400, `{"Errors":{"Error":[]}}`, canonical.ProviderRejected, canonical.OriginProvider},
		{400, gateway, canonical.ProviderRejected, canonical.OriginProvider},
		{400, bare, canonical.ProviderError, canonical.OriginProvider},
		{400, obc, canonical.ProviderError, canonical.OriginProvider},
		{400, unknown, canonical.ProviderError, canonical.OriginProvider},
		{400, aspsp, canonical.ProviderError, canonical.OriginASPSP},
		{401, "", canonical.ProviderRejected, canonical.OriginProvider},
		{401, gateway, canonical.ProviderRejected, canonical.OriginProvider},
		{401, bare, canonical.ProviderRejected, canonical.OriginProvider},
		{403, obc, canonical.ProviderError, canonical.OriginProvider},
		{403, unknown, canonical.ProviderRejected, canonical.OriginProvider},
		{403, aspsp, canonical.ProviderError, canonical.OriginASPSP},
		{404, "", canonical.ProviderRejected, canonical.OriginProvider},
		{404, bare, canonical.ProviderError, canonical.OriginProvider},
		{405, gateway, canonical.ProviderRejected, canonical.OriginProvider},
		{415, "", canonical.ProviderRejected, canonical.OriginProvider},
		{429, "", canonical.ProviderThrottled, canonical.OriginProvider},
		{429, bare, canonical.ProviderThrottled, canonical.OriginProvider},
		{429, quota, canonical.UnattendedLimit, canonical.OriginASPSP},
		{400, quota, canonical.UnattendedLimit, canonical.OriginASPSP},
		{400, envelope(`{"Source":"OBC","ReasonCode":"PROVIDER_ERROR","Description":"The quota is used up"}`), canonical.ProviderError, canonical.OriginProvider},
		{408, "", canonical.ProviderError, canonical.OriginProvider},
		{408, gateway, canonical.ProviderError, canonical.OriginProvider},
		{409, "", canonical.ProviderError, canonical.OriginProvider},
		{421, "<html>", canonical.ProviderError, canonical.OriginProvider},
		{425, unknown, canonical.ProviderError, canonical.OriginProvider},
		{429, envelope(`{"Source":"Gateway","ReasonCode":"QUOTA","Description":"The quota is used up"}`), canonical.ProviderThrottled, canonical.OriginProvider},
		{500, "", canonical.ProviderError, canonical.OriginProvider},
		{500, gateway, canonical.ProviderError, canonical.OriginProvider},
		{502, aspsp, canonical.ProviderError, canonical.OriginASPSP},
		{503, bare, canonical.ProviderUnavailable, canonical.OriginProvider},
		{504, bare, canonical.ProviderTimeout, canonical.OriginProvider},
		{599, "", canonical.ProviderError, canonical.OriginProvider},
	}
	for _, test := range tests {
		got := refuse(test.status, test.body, nil)
		if got.Kind != test.kind || got.Origin != test.origin || got.Upstream.HTTPStatus != test.status {
			t.Errorf("%d %s is %v, want %s from %s", test.status, test.body, got, test.kind, test.origin)
		}
	}
}

// TestLimitsInABanksOwnWords checks wordings of banks that OBC passes on. With status 429 a quota
// is enough, with any other status it must be a quota of accesses.
func TestLimitsInABanksOwnWords(t *testing.T) {
	t.Parallel()
	for _, w := range []struct {
		description  string
		of429, of400 canonical.Kind
	}{
		{"Maximum access quota is reached!", canonical.UnattendedLimit, canonical.UnattendedLimit},
		{"The daily access limit is reached", canonical.UnattendedLimit, canonical.UnattendedLimit},
		{"Access-limit exceeded", canonical.UnattendedLimit, canonical.UnattendedLimit},
		{"Maximum number of accesses per day exceeded", canonical.UnattendedLimit, canonical.UnattendedLimit},
		{"No more than four times a day", canonical.UnattendedLimit, canonical.UnattendedLimit},
		{"QUOTAS of the PSU are used up", canonical.UnattendedLimit, canonical.ProviderError},
		{"Daily limit exceeded", canonical.UnattendedLimit, canonical.ProviderError},
		{"The account may be read 4 times in 24 hours", canonical.UnattendedLimit, canonical.ProviderError},
		{"4 requests per day without the PSU", canonical.UnattendedLimit, canonical.ProviderError},
		{"Access quota of 10 requests per second exceeded", canonical.ProviderThrottled, canonical.ProviderError},
		{"The access quota of this API key is exceeded", canonical.ProviderThrottled, canonical.ProviderError},
		{"Quota of 100 requests per minute", canonical.ProviderThrottled, canonical.ProviderError},
		{"The rate limit is 1000 per day", canonical.ProviderThrottled, canonical.ProviderError},
		{"Too many requests: the quota is used up", canonical.ProviderThrottled, canonical.ProviderError},
		{"Access to the account is not allowed", canonical.ProviderThrottled, canonical.ProviderError},
	} {
		obc := envelope(fmt.Sprintf(`{"Source":"OBC","ReasonCode":"PROVIDER_ERROR","Description":%q}`, w.description))
		for status, want := range map[int]canonical.Kind{429: w.of429, 400: w.of400} {
			if got := refuse(status, obc, nil); got.Kind != want {
				t.Errorf("%d %s is %s, want %s", status, obc, got.Kind, want)
			}
		}
		gateway := envelope(fmt.Sprintf(`{"Source":"Gateway","Description":%q}`, w.description))
		for status, want := range map[int]canonical.Kind{429: canonical.ProviderThrottled, 400: canonical.ProviderRejected} {
			if got := refuse(status, gateway, nil); got.Kind != want {
				t.Errorf("%d %s is %s, want %s", status, gateway, got.Kind, want)
			}
		}
	}
	if got := refuse(429, envelope(`{"ReasonCode":"ACCESS_EXCEEDED","Description":"Too many requests"}`), nil); got.Kind != canonical.UnattendedLimit {
		t.Errorf("a cause in the code is %s whatever the words say", got.Kind)
	}
}

// TestA404IsNotTheAccounts checks that a 404 is not ACCOUNT_UNKNOWN: no path of OBC contains an
// account, so it comes from a proxy.
func TestA404IsNotTheAccounts(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]canonical.Kind{
		"":                                canonical.ProviderRejected,
		"<html><h1>Not Found</h1></html>": canonical.ProviderRejected,
		"404 page not found":              canonical.ProviderRejected,
		`{"message":"no route matches"}`:  canonical.ProviderRejected,
		envelope(""):                      canonical.ProviderRejected,
		envelope(`{"ReasonCode":"PROVIDER_ERROR"}`):                                       canonical.ProviderError,
		envelope(`{"ReasonCode":"PROVIDER_ERROR","Description":"account not found"}`):     canonical.AccountUnknown,
		envelope(`{"ReasonCode":"INVALID_TOKEN"}`):                                        canonical.ConsentInvalid,
		envelope(`{"Source":"Gateway","ReasonCode":"X","Description":"no such account"}`): canonical.ProviderRejected,
	} {
		for _, account := range []string{"", "a"} {
			got := classifyError(query(nil), providers.Request{Account: account}, providers.Response{Status: 404, Body: []byte(body)})
			if got.Kind != want || got.Origin != canonical.OriginProvider || got.Upstream.HTTPStatus != 404 {
				t.Errorf("404 %q on account %q is %v, want %s", body, account, got, want)
			}
		}
	}
}

func TestErrorsOfAnotherRequestDoNotCount(t *testing.T) {
	t.Parallel()
	answer := func(echo string) string {
		return `{"originalRequestInfo":` + echo + `,"Errors":{"Error":[{"Source":"ASPSP","ReasonCode":"ACCESS_EXCEEDED"}]}}`
	}
	for _, echo := range []string{
		`{"xRequestId":"00000000-0000-4000-8000-000000000000"}`, `{"xRequestId":" ` + requestID + `"}`,
		`{"XREQUESTID":"x"}`, `{"xRequestId":7}`, `{"xRequestId":true}`, `{"xRequestId":["x"]}`,
	} {
		for _, status := range []int{201, 302, 400, 401, 404, 429, 500, 503, 504} {
			want := canonical.InvalidResponse("the response belongs to another request")
			want.Upstream = &canonical.UpstreamError{HTTPStatus: status}
			if diff := cmp.Diff(want, refuse(status, answer(echo), nil)); diff != "" {
				t.Errorf("%d %s (-want +got):\n%s", status, echo, diff)
			}
		}
	}
	for _, echo := range []string{
		`{"xRequestId":"` + requestID + `"}`, `{"xRequestId":"` + strings.ToUpper(requestID) + `"}`,
		`{"xRequestId":null}`, `{"xRequestId":""}`, `{"xRequestId":{}}`, `{}`, `null`, `[]`, `"text"`,
	} {
		if got := refuse(400, answer(echo), nil); got.Kind != canonical.UnattendedLimit {
			t.Errorf("%s is %v", echo, got)
		}
	}
}

func TestAUserWhoIsThereNeedsNoAddress(t *testing.T) {
	t.Parallel()
	body := envelope(`{"ReasonCode":"PROVIDER_ERROR","Description":"PSU-IP-Address is required"}`)
	if got := refuse(400, body, attended); got.Kind != canonical.ProviderError {
		t.Errorf("%v, want a plain error of the provider", got)
	}
}

func TestNothingPersonalIsPassedOn(t *testing.T) {
	t.Parallel()
	body := envelope(`{"Source":"Jane Roe","ReasonCode":"GB29NWBK60161331926819","Description":"Account of Jane Roe is invalid"}`)
	got := refuse(400, body, nil)
	want := &canonical.Error{
		Kind: canonical.ProviderError, Origin: canonical.OriginProvider, Upstream: &canonical.UpstreamError{HTTPStatus: 400},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzRefusal(f *testing.F) {
	f.Add(400, []byte(envelope(`{"ReasonCode":" PROVIDER_ERROR ","Description":"New SCA required"}`)))
	f.Add(429, []byte(`{"code":429,"description":"Maximum access quota is reached!"}`))
	f.Add(400, []byte(`{"originalRequestInfo":{"xRequestId":"x"},"Errors":{"Error":[{"ReasonCode":"ACCESS_EXCEEDED"}]}}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		got := classifyError(query(nil), providers.Request{}, providers.Response{Status: status, Body: body})
		if got.Kind == "" || got.Origin == "" || got.Upstream == nil || got.Detail != "" && got.Kind != canonical.ProviderInvalidResponse {
			t.Fatalf("%+v", got)
		}
	})
}

// The part of an error response that is read is limited.
func TestEndlessErrorsAreNotReadToTheEnd(t *testing.T) {
	t.Parallel()
	const telling = `{"ReasonCode":"PROVIDER_ERROR","Description":"%sthe consent has expired"}`
	long, longer := strings.Repeat("x ", 900), strings.Repeat("x ", 1100)
	few, many := strings.Repeat(`{"Description":"x"},`, 99), strings.Repeat(`{"Description":"x"},`, 100)
	for body, want := range map[string]canonical.Kind{
		envelope(fmt.Sprintf(telling, long)):        canonical.ConsentExpired,
		envelope(fmt.Sprintf(telling, longer)):      canonical.ProviderError,
		envelope(few + fmt.Sprintf(telling, "")):    canonical.ConsentExpired,
		envelope(many + fmt.Sprintf(telling, "")):   canonical.ProviderError,
		envelope(`{"Description":"` + long + `é"}`): canonical.ProviderError,
	} {
		if got := refuse(400, body, nil); got.Kind != want {
			t.Errorf("%.60s… of %d bytes is %s, want %s", body, len(body), got.Kind, want)
		}
	}
}

// TestOwnTextSaysNothing checks errors that repeat texts of the request.
func TestOwnTextSaysNothing(t *testing.T) {
	t.Parallel()
	for _, id := range []string{
		"unattended limit", "consent is invalid", "access exceeded", "SCA/required", "x:CONSENT_INVALID", "x/ACCESS_EXCEEDED",
		"x#consent is invalid", "unattended/4:limit", "x:y#access/exceeded",
	} {
		body := envelope(fmt.Sprintf(`{"ReasonCode":"PROVIDER_ERROR","Description":"Nothing is known of %s here"}`, id))
		for name, put := range map[string]func(*canonical.Query, *providers.Request){
			"account":  func(_ *canonical.Query, r *providers.Request) { r.Account = id },
			"customer": func(q *canonical.Query, _ *providers.Request) { q.Customer = id },
			"merchant": func(q *canonical.Query, _ *providers.Request) { q.Merchant = &canonical.Merchant{ID: "1", Name: id} },
			"consent":  func(q *canonical.Query, _ *providers.Request) { q.Consent = id },
		} {
			q, r := query(nil), providers.Request{Account: "a"}
			if classifyError(q, r, providers.Response{Status: 400, Body: []byte(body)}).Kind == canonical.ProviderError {
				t.Errorf("%q is no wording, and tests nothing", id)
			}
			put(&q, &r)
			if got := classifyError(q, r, providers.Response{Status: 400, Body: []byte(body)}); got.Kind != canonical.ProviderError {
				t.Errorf("%q as %s is %s", id, name, got.Kind)
			}
		}
	}
}
