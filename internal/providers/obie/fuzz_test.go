package obie

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"testing"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
	"ais-gateway/internal/providers/obie/obiesim"
)

// cannedClient returns the same response to every call, and classifies errors like the transport.
// Fuzzing over sockets would be a thousand times slower; all other tests use HTTP.
type cannedClient struct {
	providers.ClientConfig
	status int
	body   []byte
	calls  int
}

func (p *cannedClient) Read(_ context.Context, q canonical.Query, r providers.Request) (providers.Response, error) {
	for {
		p.calls++
		resp := providers.Response{Status: p.status, Header: http.Header{}, Body: p.body, SlotsLeft: math.MaxInt}
		if p.status != http.StatusOK {
			return providers.Response{}, p.ClassifyError(q, r, resp)
		}
		if next, err := r.Next(resp); next == nil {
			return resp, err
		}
	}
}

// FuzzResponses reads any body as each response. A read that succeeds returns only valid data.
func FuzzResponses(f *testing.F) {
	f.Add(200, []byte(pageOf("22289", "/open-banking/v3.1/aisp/accounts?page=2", "2")))
	f.Add(200, []byte(`{"Data":{"Account":[{"AccountId":"1","Account":[{"SchemeName":"UK.OBIE.PAN","Identification":"5413330000000019"}]}]}}`))
	f.Add(400, []byte(v3(invalidStatus, "Revoked")))
	f.Add(429, []byte(v4("U012")))
	f.Add(401, []byte(`{"error-json":[{"Data":{"code":"x"}}]}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		client := &cannedClient{status: status, body: body}
		opened, err := Open(noSettings, providers.Env{
			BaseURL: &url.URL{Scheme: "http", Host: "127.0.0.1"},
			Client:  func(c providers.ClientConfig) providers.Client { client.ClientConfig = c; return client },
			ASPSPs:  []providers.ASPSP{{ID: testASPSP, Options: options(Options{AllBalances: true})}},
		})
		if err != nil {
			t.Fatal(err)
		}
		p := opened.(*provider)
		list, err := p.Accounts(t.Context(), testQuery())
		checkError(t, err, list != nil)
		for _, a := range list {
			if !adapter.ValidAccountID(a.ID) || a.Type == "" || a.Currency != "" && !canonical.ValidCurrency(a.Currency) {
				t.Errorf("account %+v", a)
			}
			if n := a.Identification; n.Scheme == canonical.SchemePAN && canonical.IsCardID(n.Value) {
				t.Errorf("a card number is not masked")
			}
		}
		sheet, err := p.Balances(t.Context(), testQuery(), obiesim.GoodAccount)
		checkError(t, err, sheet.Balances != nil)
		all, err := p.AllBalances(t.Context(), testQuery())
		checkError(t, err, all != nil)
		for id, sheet := range all {
			if !adapter.ValidAccountID(id) || len(sheet.Balances) == 0 {
				t.Errorf("%d balances of %q", len(sheet.Balances), id)
			}
			if _, err := canonical.Encode(sheet); err != nil {
				t.Error(err)
			}
		}
		if client.calls > 600 {
			t.Errorf("%d calls", client.calls)
		}
	})
}

// checkError checks that a read returned either a result or a *canonical.Error.
func checkError(t *testing.T, err error, result bool) {
	t.Helper()
	var failure *canonical.Error
	if (err == nil) != result || err != nil && !errors.As(err, &failure) {
		t.Errorf("error %v, with a result: %t", err, result)
	}
}
