package dialect_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/berlingroup/dialect"
)

func unattendedQuery() canonical.Query {
	return canonical.Query{ASPSP: uuid.NewString(), Consent: uuid.NewString(), RequestID: uuid.NewString(), Token: "token"}
}

func attendedQuery() canonical.Query {
	q := unattendedQuery()
	q.PSU = &canonical.PSU{IP: netip.MustParseAddr("203.0.113.7")}
	return q
}

func TestHeader(t *testing.T) {
	q := unattendedQuery()
	want := http.Header{
		"Accept": {"application/json"}, "X-Request-Id": {q.RequestID}, "Consent-Id": {q.Consent}, "Authorization": {"Bearer token"},
	}
	if diff := cmp.Diff(want, dialect.Header(q)); diff != "" {
		t.Errorf("unattended: %s", diff)
	}
	q.PSU = &canonical.PSU{IP: netip.MustParseAddr("2001:db8::1"), UserAgent: "Browser/1"}
	want["Psu-Ip-Address"] = []string{"2001:db8::1"}
	if diff := cmp.Diff(want, dialect.Header(q)); diff != "" {
		t.Errorf("attended: %s", diff)
	}
	q.PSU.Port, q.PSU.DeviceID, q.PSU.GeoLocation = 4711, "device", "GEO:1;2"
	want["Psu-Ip-Port"], want["Psu-Device-Id"], want["Psu-Geo-Location"] = []string{"4711"}, []string{"device"}, []string{"GEO:1;2"}
	if diff := cmp.Diff(want, dialect.Header(q)); diff != "" {
		t.Errorf("with details: %s", diff)
	}
}

// TestClassify checks what the adapters have in common. Their own tests check codes and wordings.
func TestClassify(t *testing.T) {
	var own dialect.Classifier
	for _, tt := range []struct {
		name     string
		status   int
		body     string
		want     canonical.Kind
		rejected bool // only the token was rejected
	}{
		{"code", 401, `{"tppMessages":[{"category":"ERROR","code":"CONSENT_EXPIRED"}]}`, canonical.ConsentExpired, false},
		{"token", 401, `{"tppMessages":[{"category":"ERROR","code":"TOKEN_EXPIRED"}]}`, canonical.ConsentExpired, true},
		{"problem", 400, `{"type":"about:blank","code":"CONSENT_INVALID"}`, canonical.ConsentInvalid, false},
		{"warning", 400, `{"tppMessages":[{"category":"WARNING","code":"CONSENT_EXPIRED"}]}`, canonical.ProviderRejected, false},
		{"certificate", 401, `{"code":"CERTIFICATE_REVOKED"}`, canonical.ProviderRejected, false},
		{"signature", 401, `{"tppMessages":[{"category":"ERROR","code":"SIGNATURE_INVALID"}]}`, canonical.ProviderRejected, false},
		{"401", 401, "", canonical.ConsentInvalid, true},
		{"404", 404, "", canonical.AccountUnknown, false},
		{"404 with code", 404, `{"code":"RESOURCE_UNKNOWN"}`, canonical.AccountUnknown, false},
		{"404 of a router", 404, "404 page not found", canonical.ProviderRejected, false},
		{"limit", 429, `{"code":429,"description":"Maximum access quota is reached!"}`, canonical.UnattendedLimit, false},
		{"rate", 429, `{"description":"Too many requests per second"}`, canonical.ProviderThrottled, false},
		{"503", 503, `{"code":"INTERNAL_SERVER_ERROR"}`, canonical.ProviderUnavailable, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := providers.Request{Account: "account"}
			resp := providers.Response{Status: tt.status, Header: http.Header{}, Body: []byte(tt.body)}
			f := own.Classify(attendedQuery(), r, resp)
			if f.Kind != tt.want || f.TokenRejected != tt.rejected || f.Upstream.HTTPStatus != tt.status {
				t.Errorf("%s, token rejected %t, want %s, %t", f.Kind, f.TokenRejected, tt.want, tt.rejected)
			}
			if aspsp := f.Origin == canonical.OriginASPSP; aspsp != (f.Kind == canonical.UnattendedLimit) {
				t.Errorf("origin %s", f.Origin)
			}
			resp.Header.Set("X-Request-ID", uuid.NewString())
			if f := own.Classify(attendedQuery(), r, resp); f.Kind != canonical.ProviderInvalidResponse {
				t.Errorf("of another request: %s", f.Kind)
			}
		})
	}
}

// TestNoTokenWasSent checks that a 401 without a code is about the gateway's own credentials if the
// request had no token.
func TestNoTokenWasSent(t *testing.T) {
	q := attendedQuery()
	q.Token = ""
	resp := providers.Response{Status: http.StatusUnauthorized, Header: http.Header{}}
	if f := (dialect.Classifier{}).Classify(q, providers.Request{}, resp); f.Kind != canonical.ProviderRejected || f.TokenRejected {
		t.Errorf("%s, token rejected %t", f.Kind, f.TokenRejected)
	}
}

func TestMissingAddress(t *testing.T) {
	resp := providers.Response{Status: 400, Header: http.Header{}, Body: []byte(`{"code":"FORMAT_ERROR","text":"PSU-IP-Address is required"}`)}
	var c dialect.Classifier
	if f := c.Classify(unattendedQuery(), providers.Request{}, resp); f.Kind != canonical.UnattendedLimit {
		t.Errorf("unattended: %s", f.Kind)
	}
	if f := c.Classify(attendedQuery(), providers.Request{}, resp); f.Kind != canonical.ProviderRejected {
		t.Errorf("attended: %s", f.Kind)
	}
}

func TestErrorInSuccess(t *testing.T) {
	for raw, ok := range map[string]bool{
		"": true, "null": true, "[]": true, "[{}]": true, `{"category":"WARNING","text":"x"}`: true, `[{"category":"warning"}]`: true,
		`[{"category":"ERROR"}]`: false, `[{"category":"WARNING"},{"code":"X"}]`: false, `"text"`: false, `{"code":"X"}`: false,
	} {
		for _, m := range []dialect.Messages{{TPPMessages: []byte(raw)}, {AdditionalErrors: []byte(raw)}} {
			if err := m.ErrorInSuccess(); (err == nil) != ok {
				t.Errorf("%s: %v", raw, err)
			}
		}
	}
}

// TestOwnCodes checks codes of the provider, which precede those of the standard.
func TestOwnCodes(t *testing.T) {
	c := dialect.Classifier{Codes: map[string]canonical.Kind{
		"KONSENT_WEG": canonical.ConsentExpired, "LIMIT_TOKEN": canonical.ConsentInvalid, "FORMAT_ERROR": canonical.ProviderError,
		"KONTO WEG": canonical.AccountUnknown, "BUSY": canonical.ProviderError, "CONSENT_TOKEN_BAD": canonical.ConsentInvalid,
	}}
	for _, tt := range []struct {
		body     string
		want     canonical.Kind
		rejected bool
	}{
		{`{"tppMessages":[{"category":"ERROR","code":"konsent_weg"}]}`, canonical.ConsentExpired, false},
		{`{"message":"Konto weg"}`, canonical.AccountUnknown, false},
		{`{"code":"LIMIT_TOKEN"}`, canonical.ConsentInvalid, true},
		{`{"code":"FORMAT_ERROR"}`, canonical.ProviderError, false},
		{`{"code":"CONSENT_EXPIRED"}`, canonical.ConsentExpired, false},
		{`{"code":"KONSENT"}`, canonical.ProviderRejected, false},
		{`{"code":"CONSENT_TOKEN_BAD"}`, canonical.ConsentInvalid, true},
		{`{"tppMessages":[{"category":"ERROR","code":"CONSENT_INVALID"},{"category":"ERROR","code":"KONTO WEG"}]}`, canonical.AccountUnknown, false},
	} {
		resp := providers.Response{Status: http.StatusForbidden, Header: http.Header{}, Body: []byte(tt.body)}
		if f := c.Classify(attendedQuery(), providers.Request{}, resp); f.Kind != tt.want || f.TokenRejected != tt.rejected {
			t.Errorf("%s is %s, token rejected %t, want %s, %t", tt.body, f.Kind, f.TokenRejected, tt.want, tt.rejected)
		}
	}
	for status, body := range map[int]string{
		http.StatusTooManyRequests: `{"code":"BUSY","text":"The limit of 4 calls a day is reached"}`, http.StatusServiceUnavailable: `{"code":"BUSY"}`,
		http.StatusBadRequest: `{"code":"BUSY","text":"PSU-IP-Address is missing"}`,
	} {
		resp := providers.Response{Status: status, Header: http.Header{}, Body: []byte(body)}
		if f := c.Classify(unattendedQuery(), providers.Request{}, resp); f.Kind != canonical.ProviderError {
			t.Errorf("%d %s is %s, want the kind of its own code", status, body, f.Kind)
		}
	}
}

// TestMessagesOfAnotherType checks that the other members of an error count if its messages are no
// list.
func TestMessagesOfAnotherType(t *testing.T) {
	for _, messages := range []string{`"Consent is not known"`, `7`, `{"text":"x"}`, `null`, `[7]`} {
		body := `{"code":"CONSENT_UNKNOWN","category":"ERROR","tppMessages":` + messages + `}`
		resp := providers.Response{Status: http.StatusForbidden, Header: http.Header{}, Body: []byte(body)}
		f := (dialect.Classifier{}).Classify(attendedQuery(), providers.Request{}, resp)
		if f.Kind != canonical.ConsentInvalid || f.Upstream.ReasonCode != "CONSENT_UNKNOWN" || f.TokenRejected {
			t.Errorf("%s: %s, %+v", body, f.Kind, f.Upstream)
		}
	}
}

func TestBalanceType(t *testing.T) {
	own := map[string]canonical.BalanceType{"available": canonical.InterimAvailable, "expected": canonical.Information}
	for word, want := range map[string]canonical.BalanceType{
		"closingBooked": "CLBD", "CLOSING_BOOKED": "CLBD", " Interim_Available ": "ITAV", "PREVIOUSLY_CLOSED_BOOKED": "PRCD", "xpcd": "XPCD",
		"AVAILABLE": "ITAV", "Expected": "INFO", "nonInvoiced": "OTHR", "authorised": "OTHR", "closing booked": "OTHR", "": "OTHR",
	} {
		if got := dialect.BalanceType(word, own); got != want {
			t.Errorf("%q is %s, want %s", word, got, want)
		}
	}
}

func TestNewBalance(t *testing.T) {
	for number, want := range map[string]string{
		"-12.5": "-12.50", "+3": "3.00", ".5": "0.50", "-0.00": "0.00", "1e2": "100.00",
		"12,5": "", "1.000,50": "", "+-5": "", "-+5": "", "--5": "", "++5": "", "5-": "", "- 5": "", "": "", "five": "",
	} {
		b, err := dialect.NewBalance(number, "EUR", "CLOSING_BOOKED", nil)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q is read as %s", number, b.Amount.Value())
		case want != "" && (err != nil || b.Amount.Value() != want || b.Type != canonical.ClosingBooked || b.ProviderType != "CLOSING_BOOKED"):
			t.Errorf("%q: %+v, %v", number, b, err)
		}
	}
	if _, err := dialect.NewBalance("5", "eur", "", nil); err == nil {
		t.Error("a currency in lower case is accepted")
	}
}
