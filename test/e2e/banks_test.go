package e2e_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
	"ais-gateway/internal/providers/obie/obiesim"
	"ais-gateway/internal/sandbox"
)

// TestBanksOfTheSandbox: the banks of the standards have the habits that the sandbox documents, and
// those of Berlin Group verify signatures.
func TestBanksOfTheSandbox(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := gatewaytest.Serve(t, w.ConfigFile)
	for _, tt := range []struct {
		name, aspsp, path, consent, token string
		calls                             int
		want                              string
	}{
		{"pages", sandbox.WillowBank, "/accounts", berlingroupsim.ManyConsent, "", 3, `"accountId":"account-00060"`},
		{"odd", sandbox.BirchBank, "/accounts", berlingroupsim.GoodConsent, berlingroupsim.GoodToken, 1, `"accountId":"phone-1"`},
		{"odd, of UK Open Banking", sandbox.HeronBank, "/accounts", obiesim.GoodConsent, obiesim.Token(obiesim.GoodConsent), 1, `"accountId":"odd-1"`},
		{"version 4.0", sandbox.KingfisherBank, "/accounts", obiesim.GoodConsent, obiesim.Token(obiesim.GoodConsent), 1, `"providerType":"CACC"`},
	} {
		before := len(w.CallLog.Calls())
		header := []string{"Consent-ID", tt.consent}
		if tt.token != "" {
			header = append(header, "Provider-Authorization", "Bearer "+tt.token)
		}
		resp, body := gatewaytest.Call(t, http.MethodGet, p.API+"/v1/aspsps/"+tt.aspsp+tt.path, header...)
		if calls := len(w.CallLog.Calls()) - before; resp.StatusCode != http.StatusOK || !strings.Contains(body, tt.want) || calls != tt.calls {
			t.Errorf("%s: %d, %d calls\n%s", tt.name, resp.StatusCode, calls, body)
		}
	}
	config, err := os.ReadFile(w.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	base := func(provider string) string {
		return regexp.MustCompile(provider + `: \{baseURL: "([^"]*)"`).FindStringSubmatch(string(config))[1]
	}
	const id = "a552babc-7081-44e7-9361-61eb17e0bfd9"
	get := func(url, key, value string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"X-Request-Id": {id}, "User-Agent": {""}, key: {value}}
		if key == "Authorization" {
			r.Header = http.Header{"X-Fapi-Interaction-Id": {id}, "User-Agent": {""}, key: {value}}
		}
		return do(t, r)
	}
	if status, body := get(base("berlingroup")+"/v1/accounts", "Consent-Id", berlingroupsim.GoodConsent); status != http.StatusUnauthorized || !strings.Contains(body, "SIGNATURE_INVALID") {
		t.Errorf("a request without a signature: %d %s", status, body)
	}
	bulk, token := "/open-banking/v4.0/aisp/balances", "Bearer "+obiesim.Token(obiesim.GoodConsent)
	if status, body := get(base("obie")+bulk, "Authorization", token); status != http.StatusOK || !strings.Contains(body, `"AccountId":"31820"`) {
		t.Errorf("all balances of Kingfisher Bank: %d %s", status, body)
	}
}

// do sends a request, and returns the status and the body of its response.
func do(t *testing.T, r *http.Request) (status int, body string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text strings.Builder
	if err := resp.Write(&text); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, text.String()
}
