package mypos

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
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
		if r.Next == nil {
			return resp, nil
		}
		if next, err := r.Next(resp); next == nil {
			return resp, err
		}
	}
}

func openCanned(t *testing.T, status int, body []byte) (providers.Provider, *cannedClient) {
	t.Helper()
	sheet := &cannedClient{status: status, body: body}
	p, err := Open(testSettings, providers.Env{
		BaseURL: &url.URL{Scheme: "http", Host: "127.0.0.1"},
		Client:  func(c providers.ClientConfig) providers.Client { sheet.ClientConfig = c; return sheet },
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, sheet
}

func seed(f *testing.F, pattern string) {
	f.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range names {
		body, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
}

func FuzzAccounts(f *testing.F) {
	seed(f, "accounts*.json")
	f.Fuzz(func(t *testing.T, body []byte) {
		p, sheet := openCanned(t, http.StatusOK, body)
		got, err := p.Accounts(t.Context(), testQuery())
		if sheet.calls > maxPages {
			t.Errorf("%d calls", sheet.calls)
		}
		if err != nil {
			failed(t, err, got != nil)
			return
		}
		seen := map[string]bool{}
		for _, a := range got {
			if !adapter.ValidAccountID(a.ID) || seen[a.ID] {
				t.Errorf("id %q is unusable or twice", a.ID)
			}
			seen[a.ID] = true
			if a.Currency != "" && !canonical.ValidCurrency(a.Currency) {
				t.Errorf("currency %q", a.Currency)
			}
			if a.Type != canonical.ParseAccountType(string(a.Type)) || !utf8.ValidString(a.Name) {
				t.Errorf("account %+v", a)
			}
		}
	})
}

func FuzzBalances(f *testing.F) {
	seed(f, "balances*.json")
	f.Fuzz(func(t *testing.T, body []byte) {
		p, _ := openCanned(t, http.StatusOK, body)
		got, err := p.Balances(t.Context(), testQuery(), "50044620073")
		if err != nil {
			failed(t, err, got.Balances != nil)
			return
		}
		if got.Balances == nil {
			t.Error("balances are nil")
		}
		for _, b := range got.Balances {
			again, err := canonical.ParseAmount(b.Amount.Value(), b.Amount.Currency())
			if err != nil || again.Value() != b.Amount.Value() {
				t.Errorf("amount %s: %v", b.Amount.Value(), err)
			}
			if b.Type != canonical.BalanceTypeOther && b.Type != canonical.ParseBalanceType(string(b.Type), nil) {
				t.Errorf("type %q", b.Type)
			}
		}
	})
}

func FuzzRefusal(f *testing.F) {
	f.Add(401, []byte(tpp("CONSENT_EXPIRED")))
	f.Add(429, []byte(`{"code":429,"description":"Maximum access quota is reached!"}`))
	f.Add(400, []byte("<html>PSU-IP-Address</html>"))
	f.Add(302, []byte{0xff})
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status == http.StatusOK || status < 100 || status > 999 {
			return
		}
		p, _ := openCanned(t, status, body)
		_, err := p.Accounts(t.Context(), testQuery())
		failed(t, err, false)
		var failure *canonical.Error
		if errors.As(err, &failure) && (failure.Upstream == nil || failure.Upstream.HTTPStatus != status) {
			t.Errorf("upstream is %+v", failure.Upstream)
		}
	})
}

func failed(t *testing.T, err error, result bool) {
	t.Helper()
	var failure *canonical.Error
	switch {
	case !errors.As(err, &failure):
		t.Errorf("error is %v, no *canonical.Error", err)
	case failure.Kind == "", failure.Origin == canonical.OriginGateway:
		t.Errorf("error is %v", failure)
	case result:
		t.Error("a result beside the error")
	}
}
