package mastercard

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
)

func refuse(status int, body string, change func(*canonical.Query)) *canonical.Error {
	return refusal(query(change), providers.Request{}, providers.Answer{Status: status, Body: []byte(body)})
}

func envelope(errs string) string { return `{"Errors":{"Error":[` + errs + `]}}` }

// wordings holds at least one error for each row of causes, by the row's number.
var wordings = []struct {
	row                 int
	reason, description string
	kind                canonical.Kind
}{
	{0, "FORMAT_ERROR", "Conditional field psuIPAddress is expected when isLivePsuRequest='true'", canonical.ProviderRejected},
	{0, "FORMAT_ERROR", "Object instance has properties which are not allowed by the schema", canonical.ProviderRejected},
	{1, " INVALID_TOKEN ", "Access Token associated with the Request has expired", canonical.ConsentExpired},
	{2, "INVALID_TOKEN", "Access Token associated with the Request is invalid or has been revoked", canonical.ConsentInvalid},
	{2, "invalid_token", "", canonical.ConsentInvalid},
	{3, "AUTHENTICATION_FAILED", "oauth token expired", canonical.ProviderRejected},
	{4, "CONSENT_EXPIRED", "", canonical.ConsentExpired},
	{5, "TOKEN_EXPIRED", "", canonical.ConsentExpired},
	{6, "CONSENT_INVALID", "", canonical.ConsentInvalid},
	{7, "CONSENT_UNKNOWN", "", canonical.ConsentInvalid},
	{8, "TOKEN_INVALID", "", canonical.ConsentInvalid},
	{9, "TOKEN_UNKNOWN", "", canonical.ConsentInvalid},
	{10, "RESOURCE_UNKNOWN", "", canonical.AccountUnknown},
	{11, " access_exceeded", "", canonical.UnattendedLimit},
	{12, "CERTIFICATE_EXPIRED", "", canonical.ProviderRejected},
	{12, " certificate_revoked ", "The consent is invalid", canonical.ProviderRejected},
	{12, "Certificate_Of_A_New_Kind", "", canonical.ProviderRejected},
	{13, "SERVICE_UNAVAILABLE", "", canonical.ProviderUnavailable},
	{14, "PROVIDER_ERROR", "New SCA required", canonical.ConsentExpired},
	{14, "NEW_SCA_REQUIRED", "", canonical.ConsentExpired},
	{15, "PROVIDER_ERROR", "The SCA used to access account information is expired.", canonical.ConsentExpired},
	{16, "PROVIDER_ERROR", "Strong Customer Authentication is required.", canonical.ConsentExpired},
	{17, "PROVIDER_ERROR", "A new strong customer authentication will be needed", canonical.ConsentExpired},
	{18, "PROVIDER_ERROR", "The strong-customer-authentication has expired", canonical.ConsentExpired},
	{19, "PROVIDER_ERROR", "Consent has expired", canonical.ConsentExpired},
	{20, "PROVIDER_ERROR", "Access Token associated with the Request has expired", canonical.ConsentExpired},
	{21, " PROVIDER_ERROR ", "Provided account is invalid or unlinked from the consent", canonical.AccountUnknown},
	{21, "ACCOUNT_ERROR", "PROVIDED  ACCOUNT IS INVALID.", canonical.AccountUnknown},
	{22, "PROVIDER_ERROR", "Account was unlinked", canonical.AccountUnknown},
	{23, "PROVIDER_ERROR", "Consent was revoked by the PSU", canonical.ConsentInvalid},
	{24, "PROVIDER_ERROR", "Consent is invalid", canonical.ConsentInvalid},
	{25, "PROVIDER_ERROR", "The consent id used in the request is invalid", canonical.ConsentInvalid},
	{26, "PROVIDER_ERROR", "Token has been revoked", canonical.ConsentInvalid},
	{27, " PROVIDER_ERROR ", "ASPSP limit for unattended requests was exceeded", canonical.UnattendedLimit},
	{27, "UNATTENDED_LIMIT", "", canonical.UnattendedLimit},
	{28, "PROVIDER_ERROR", "Number of unattended requests exceeded", canonical.UnattendedLimit},
	{29, "PROVIDER_ERROR", "The bank answered ACCESS_EXCEEDED", canonical.UnattendedLimit},
	{30, "PROVIDER_ERROR", "PSU-IP-Address is required", canonical.UnattendedLimit},
	{31, "PROVIDER_ERROR", "psuIPAddress is missing", canonical.UnattendedLimit},
}

func TestEveryWordingAtAnyStatus(t *testing.T) {
	t.Parallel()
	rows := map[int]bool{}
	for _, w := range wordings {
		rows[w.row] = true
		if got := causes[w.row].kind; got != w.kind {
			t.Errorf("row %d is %s, want %s", w.row, got, w.kind)
		}
		one := fmt.Sprintf(`{"ReasonCode":%q,"Description":%q}`, w.reason, w.description)
		for _, status := range []int{400, 401, 403, 404, 429, 500, 503, 504} {
			// The caller sends no token to OBC: whatever token it names is the consent's.
			if got := refuse(status, envelope(one), nil); got.Kind != w.kind || got.TokenRejected {
				t.Errorf("%d %s is %s, token rejected %t, want %s", status, one, got.Kind, got.TokenRejected, w.kind)
			}
		}
	}
	for row := range causes {
		if !rows[row] {
			t.Errorf("row %d of the table is not tested", row)
		}
	}
}

// TestRowsAreNeeded shows of each row that its wording is told by that row, not by one before it.
func TestRowsAreNeeded(t *testing.T) {
	t.Parallel()
	for _, w := range wordings {
		e := wireError{ReasonCode: lenient(w.reason), Description: lenient(w.description)}
		for row := range w.row {
			c := causes[row]
			if c.matches(e, false) {
				t.Errorf("%q %q fits row %d before row %d", w.reason, w.description, row, w.row)
			}
		}
		if !causes[w.row].matches(e, false) {
			t.Errorf("%q %q does not fit row %d", w.reason, w.description, w.row)
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
		{400, quota, canonical.ProviderError, canonical.OriginProvider},
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

// TestQuotasOfA429 has a wording for each row of quotas, which no other row tells, and for each row of throttles, which
// wins over a quota.
func TestQuotasOfA429(t *testing.T) {
	t.Parallel()
	wordings := []struct {
		table       [][]string
		row         int
		description string
		kind        canonical.Kind
	}{
		{quotas, 0, "Maximum access quota is reached!", canonical.UnattendedLimit},
		{quotas, 1, "QUOTAS of the PSU are used up", canonical.UnattendedLimit},
		{quotas, 2, "The daily access limit is reached", canonical.UnattendedLimit},
		{quotas, 2, "Access-limit exceeded", canonical.UnattendedLimit},
		{quotas, 3, "Daily limit exceeded", canonical.UnattendedLimit},
		{quotas, 4, "The account may be read 4 times in 24 hours", canonical.UnattendedLimit},
		{quotas, 4, "Was read four times within 24 hours", canonical.UnattendedLimit},
		{quotas, 5, "No more than four times a day", canonical.UnattendedLimit},
		{quotas, 6, "It can be read 4 times daily", canonical.UnattendedLimit},
		{quotas, 7, "4 requests per day without the PSU", canonical.UnattendedLimit},
		{throttles, 0, "Quota of 10 requests per second", canonical.ProviderThrottled},
		{throttles, 1, "Quota of 100 requests per minute", canonical.ProviderThrottled},
		{throttles, 2, "Quota of 1000 requests per hour", canonical.ProviderThrottled},
		{throttles, 3, "The rate limit is 1000 per day", canonical.ProviderThrottled},
		{throttles, 4, "Too many requests: the quota is used up", canonical.ProviderThrottled},
		{throttles, 5, "The API key has used up its quota", canonical.ProviderThrottled},
	}
	tested := map[*[]string]bool{}
	for _, w := range wordings {
		tested[&w.table[w.row]] = true
		e := wireError{Description: lenient(w.description)}
		for row, words := range w.table {
			if e.says(words) != (row == w.row) {
				t.Errorf("%q and row %d: %v", w.description, row, e.says(words))
			}
		}
		obc := envelope(fmt.Sprintf(`{"Source":"OBC","ReasonCode":"PROVIDER_ERROR","Description":%q}`, w.description))
		if got := refuse(429, obc, nil); got.Kind != w.kind {
			t.Errorf("%s is %s, want %s", obc, got.Kind, w.kind)
		}
		if got := refuse(400, obc, nil); got.Kind != canonical.ProviderError {
			t.Errorf("%s of a 400 is %s", obc, got.Kind)
		}
		gateway := envelope(fmt.Sprintf(`{"Source":"Gateway","Description":%q}`, w.description))
		if got := refuse(429, gateway, nil); got.Kind != canonical.ProviderThrottled {
			t.Errorf("%s is %s", gateway, got.Kind)
		}
	}
	for _, table := range [][][]string{quotas, throttles} {
		for row := range table {
			if !tested[&table[row]] {
				t.Errorf("%q is not tested", table[row])
			}
		}
	}
	if got := refuse(429, envelope(`{"ReasonCode":"ACCESS_EXCEEDED","Description":"Too many requests"}`), nil); got.Kind != canonical.UnattendedLimit {
		t.Errorf("a cause in the code is %s whatever the words say", got.Kind)
	}
}

func TestABare404IsAboutTheAccountAskedFor(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status        int
		account, body string
		kind          canonical.Kind
	}{
		{404, "a", "", canonical.AccountUnknown},
		{404, "a", "<html>", canonical.AccountUnknown},
		{404, "a", envelope(""), canonical.AccountUnknown},
		{404, "a", envelope(`{"ReasonCode":"PROVIDER_ERROR"}`), canonical.ProviderError},
		{404, "a", envelope(`{"ReasonCode":"INVALID_TOKEN"}`), canonical.ConsentInvalid},
		{404, "a", envelope(`{"Source":"Gateway","ReasonCode":"NOT_FOUND"}`), canonical.ProviderRejected},
		{404, "", "", canonical.ProviderRejected},
		{405, "a", "", canonical.ProviderRejected},
		{410, "a", "", canonical.ProviderRejected},
	}
	for _, test := range tests {
		got := refusal(query(nil), providers.Request{Account: test.account}, providers.Answer{Status: test.status, Body: []byte(test.body)})
		if got.Kind != test.kind || got.Origin != canonical.OriginProvider || got.Upstream.HTTPStatus != test.status {
			t.Errorf("%d %q on account %q is %v, want %s", test.status, test.body, test.account, got, test.kind)
		}
	}
}

func TestErrorsOfAnotherRequestDoNotCount(t *testing.T) {
	t.Parallel()
	answer := func(echo string) string {
		return `{"originalRequestInfo":` + echo + `,"Errors":{"Error":[{"Source":"ASPSP","ReasonCode":"ACCESS_EXCEEDED"}]}}`
	}
	for _, echo := range []string{
		`{"xRequestId":"00000000-0000-4000-8000-000000000000"}`, `{"xRequestId":""}`, `{"xRequestId":" ` + requestID + `"}`,
		`{"XREQUESTID":"x"}`, `{"xRequestId":7}`, `{"xRequestId":{}}`,
	} {
		for _, status := range []int{201, 302, 400, 401, 404, 429, 500, 503, 504} {
			want := canonical.InvalidResponse("the answer belongs to another request")
			want.Upstream = &canonical.UpstreamError{HTTPStatus: status}
			if diff := cmp.Diff(want, refuse(status, answer(echo), nil)); diff != "" {
				t.Errorf("%d %s (-want +got):\n%s", status, echo, diff)
			}
		}
	}
	for _, echo := range []string{
		`{"xRequestId":"` + requestID + `"}`, `{"xRequestId":"` + strings.ToUpper(requestID) + `"}`,
		`{"xRequestId":null}`, `{}`, `null`, `[]`, `"text"`,
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
		got := refusal(query(nil), providers.Request{}, providers.Answer{Status: status, Body: body})
		if got.Kind == "" || got.Origin == "" || got.Upstream == nil || got.Detail != "" && got.Kind != canonical.ProviderInvalidResponse {
			t.Fatalf("%+v", got)
		}
	})
}

// Of an error no more is read than errors have: its words are looked through for each row.
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
