package berlingroup

import (
	"net/http"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
)

// TestRefusals checks every error of the simulator. FORMS.md has the forms that were seen.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		consent string
		want    canonical.Kind
		code    string
		token   bool // the user's token was rejected
	}{
		{berlingroupsim.Consent400ConsentUnknown, canonical.ConsentInvalid, "CONSENT_UNKNOWN", false},
		{berlingroupsim.Consent400NotSupported, canonical.ProviderRejected, "PARAMETER_NOT_SUPPORTED", false},
		{berlingroupsim.Consent400NeedsAddress, canonical.UnattendedLimit, "FORMAT_ERROR", false},
		{berlingroupsim.Consent400Several, canonical.ConsentExpired, "CONSENT_EXPIRED", false},
		{berlingroupsim.Consent401ConsentExpired, canonical.ConsentExpired, "CONSENT_EXPIRED", false},
		{berlingroupsim.Consent401ConsentInvalid, canonical.ConsentInvalid, "CONSENT_INVALID", false},
		{berlingroupsim.Consent401TokenInvalid, canonical.ConsentInvalid, "TOKEN_INVALID", true},
		{berlingroupsim.Consent401Certificate, canonical.ProviderRejected, "CERTIFICATE_INVALID", false},
		{berlingroupsim.Consent401Bare, canonical.ConsentInvalid, "", true},
		{berlingroupsim.Consent401Gateway, canonical.ConsentInvalid, "", true},
		{berlingroupsim.Consent401ProblemExpired, canonical.ConsentExpired, "CONSENT_EXPIRED", false},
		{berlingroupsim.Consent403ConsentUnknown, canonical.ConsentInvalid, "CONSENT_UNKNOWN", false},
		{berlingroupsim.Consent403ConsentExpired, canonical.ConsentExpired, "CONSENT_EXPIRED", false},
		{berlingroupsim.Consent403ResourceUnknown, canonical.AccountUnknown, "RESOURCE_UNKNOWN", false},
		{berlingroupsim.Consent403ResourceExpired, canonical.AccountUnknown, "RESOURCE_EXPIRED", false},
		{berlingroupsim.Consent403ServiceBlocked, canonical.ProviderError, "SERVICE_BLOCKED", false},
		{berlingroupsim.Consent403MessagesAsText, canonical.ConsentInvalid, "CONSENT_UNKNOWN", false},
		{berlingroupsim.Consent404ResourceUnknown, canonical.AccountUnknown, "RESOURCE_UNKNOWN", false},
		{berlingroupsim.Consent404Bare, canonical.AccountUnknown, "", false},
		{berlingroupsim.Consent408Bare, canonical.ProviderError, "", false},
		{berlingroupsim.Consent429Exceeded, canonical.UnattendedLimit, "ACCESS_EXCEEDED", false},
		{berlingroupsim.Consent429Worded, canonical.UnattendedLimit, "", false},
		{berlingroupsim.Consent429TooMany, canonical.ProviderThrottled, "TOO_MANY_REQUESTS", false},
		{berlingroupsim.Consent429Bare, canonical.ProviderThrottled, "", false},
		{berlingroupsim.Consent500, canonical.ProviderError, "INTERNAL_SERVER_ERROR", false},
		{berlingroupsim.Consent500Bare, canonical.ProviderError, "", false},
		{berlingroupsim.Consent503, canonical.ProviderUnavailable, "SERVICE_UNAVAILABLE", false},
		{berlingroupsim.Consent504Bare, canonical.ProviderTimeout, "", false},
	} {
		t.Run(tt.consent, func(t *testing.T) {
			callLog := aspspsim.NewCallLog(time.Now)
			sim := berlingroupsim.New(berlingroupsim.Config{Log: callLog, Banks: []berlingroupsim.Bank{{ASPSP: testASPSP}}})
			p := serve(t, sim, Options{}, counter(t, 4))
			q := unattendedQuery()
			q.Consent, q.Token = tt.consent, berlingroupsim.GoodToken
			_, err := p.Balances(t.Context(), q, berlingroupsim.GoodAccount)
			failure := wantKind(t, err, tt.want)
			if failure.TokenRejected != tt.token || failure.Upstream.ReasonCode != tt.code || failure.Upstream.HTTPStatus == 0 {
				t.Errorf("token rejected %t, upstream %+v", failure.TokenRejected, failure.Upstream)
			}
			if aspsp := failure.Origin == canonical.OriginASPSP; aspsp != (tt.want == canonical.UnattendedLimit) {
				t.Errorf("origin %s", failure.Origin)
			}
		})
	}
}

// TestWithoutAToken checks that a 401 without a code is not the user's fault if no token was sent.
func TestWithoutAToken(t *testing.T) {
	for _, body := range []string{"", `{"httpCode":"401","httpMessage":"Unauthorized","moreInformation":"Client id not registered."}`} {
		p := serve(t, responds(http.StatusUnauthorized, body), Options{}, nil)
		_, err := p.Accounts(t.Context(), testQuery())
		wantKind(t, err, canonical.ProviderRejected)
		q := testQuery()
		q.Token = berlingroupsim.GoodToken
		_, err = p.Accounts(t.Context(), q)
		if failure := wantKind(t, err, canonical.ConsentInvalid); !failure.TokenRejected {
			t.Error("with a token: the consent was rejected")
		}
	}
}

// TestOwnCodes checks the option codes of an ASPSP.
func TestOwnCodes(t *testing.T) {
	own := Options{Codes: map[string]string{
		"Consent gone": "CONSENT_EXPIRED", "e-17": "UNATTENDED_LIMIT", "FORMAT_ERROR": "ACCOUNT_UNKNOWN", "Client id not registered.": "PROVIDER_REJECTED",
	}}
	for _, tt := range []struct {
		status int
		body   string
		want   canonical.Kind
	}{
		{403, `{"message":"consent gone"}`, canonical.ConsentExpired},
		{400, `{"tppMessages":[{"category":"ERROR","code":"E-17"}]}`, canonical.UnattendedLimit},
		{400, `{"tppMessages":[{"category":"ERROR","code":"FORMAT_ERROR"}]}`, canonical.AccountUnknown},
		{401, `{"httpCode":"401","httpMessage":"Unauthorized","moreInformation":"Client id not registered."}`, canonical.ProviderRejected},
		{400, `{"tppMessages":[{"category":"ERROR","code":"E-18"}]}`, canonical.ProviderRejected},
	} {
		p := serve(t, responds(tt.status, tt.body), own, nil)
		q := testQuery()
		q.Token = berlingroupsim.GoodToken
		_, err := p.Accounts(t.Context(), q)
		if failure := wantKind(t, err, tt.want); failure.TokenRejected {
			t.Errorf("%s: the token was rejected", tt.body)
		}
	}
}

// TestLostRoutes checks that a 404 of something before the bank is not the account's fault, and that
// one of the list is not either.
func TestLostRoutes(t *testing.T) {
	p := serve(t, http.NotFoundHandler(), Options{}, nil)
	_, err := p.Balances(t.Context(), testQuery(), "a")
	wantKind(t, err, canonical.ProviderRejected)
	p = serve(t, responds(http.StatusNotFound, ""), Options{}, nil)
	_, err = p.Accounts(t.Context(), testQuery())
	wantKind(t, err, canonical.ProviderRejected)
}

// TestOtherRequest checks that a response to another request is not read, whatever its status.
func TestOtherRequest(t *testing.T) {
	for _, status := range []int{200, 401, 429} {
		p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Request-ID", "99391c7e-ad88-49ec-a2ad-99ddcb1f7721")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"accounts":[],"tppMessages":[{"category":"WARNING","code":"CONSENT_EXPIRED"}]}`))
		}), Options{}, nil)
		_, err := p.Accounts(t.Context(), testQuery())
		wantKind(t, err, canonical.ProviderInvalidResponse)
	}
}
