// Package mypos implements the adapter for the PSD2 API of myPOS. MAPPING.md documents how each
// member of its API is mapped, and why.
package mypos

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
	"ais-gateway/internal/providers/adapterconfig"
	"ais-gateway/internal/providers/berlingroup/dialect"
)

// The route templates for telemetry. Real paths contain account numbers.
const (
	routeAccounts = "/v1/accounts"
	routeBalances = "/v1/accounts/{accountNumber}/balances"
)

// classifier classifies error responses: myPOS has no codes of its own.
var classifier dialect.Classifier

type provider struct {
	base       *url.URL
	apiKey     canonical.Secret
	client     providers.Client
	certExpiry time.Time // of the client certificate
}

// Open creates the adapter. It implements providers.Open. Its errors are config.Faults, including
// those of decode, or another error of decode.
func Open(decode func(into any) error, env providers.Env) (providers.Provider, error) {
	var cfg Config
	var faults config.Faults
	if err := decode(&cfg); err != nil && !errors.As(err, &faults) {
		return nil, err
	}
	key := adapterconfig.HeaderKey(cfg.APIKeyFile, "apiKeyFile", &faults)
	certificate := adapterconfig.ClientCertificate(cfg.ClientCertificateFile, cfg.ClientKeyFile, &faults, env.BaseURL)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	var expiry time.Time
	if certificate != nil {
		expiry = providers.EarliestExpiry(certificate.Certificate)
	}
	client := env.Client(providers.ClientConfig{
		Certificate: certificate, Routes: []string{routeAccounts, routeBalances}, ClassifyError: classifier.Classify,
	})
	return &provider{base: env.BaseURL, apiKey: key, client: client, certExpiry: expiry}, nil
}

// requirements are those of the page "Read Account Balance".
var requirements = providers.Requirements{Token: true, ConsentUUID: true}

// Requires implements providers.Requirer.
func (p *provider) Requires(string) providers.Requirements { return requirements }

// NotAfter implements providers.CertificateHolder, for the client certificate and its chain.
func (p *provider) NotAfter() time.Time { return p.certExpiry }

// Accounts returns the account list, all its pages.
func (p *provider) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	if failure := adapter.CheckQuery(q, requirements); failure != nil {
		return nil, failure
	}
	pages := newAccountPager()
	r := providers.Request{
		Method: http.MethodGet, URL: adapter.URL(p.base, "v1", "accounts"), Route: routeAccounts, Header: p.header(q),
	}
	r.Next = func(page providers.Response) (*url.URL, error) {
		var w wireAccounts
		if err := dialect.Decode(q, page, &w); err != nil {
			return nil, err
		}
		if done, err := pages.addPage(w, len(page.Body)); done || err != nil {
			return nil, err
		}
		if failure := pages.checkSlots(page.SlotsLeft); failure != nil {
			return nil, failure
		}
		next := *r.URL
		next.RawQuery = pages.query()
		return &next, nil
	}
	if _, err := p.client.Read(ctx, q, r); err != nil {
		return nil, err
	}
	return pages.list.Accounts, nil
}

// Balances returns the balances of one account.
func (p *provider) Balances(ctx context.Context, q canonical.Query, accountID string) (canonical.AccountBalances, error) {
	if failure := adapter.CheckAccount(q, requirements, accountID); failure != nil {
		return canonical.AccountBalances{}, failure
	}
	resp, err := p.client.Read(ctx, q, providers.Request{
		Method:  http.MethodGet,
		URL:     adapter.URL(p.base, "v1", "accounts", accountID, "balances"),
		Route:   routeBalances,
		Header:  p.header(q),
		Account: accountID,
	})
	if err != nil {
		return canonical.AccountBalances{}, err
	}
	var w wireBalances
	if err := dialect.Decode(q, resp, &w); err != nil {
		return canonical.AccountBalances{}, err
	}
	return w.balances(accountID)
}

// header returns the headers that the page "Read Account Balance" documents.
func (p *provider) header(q canonical.Query) http.Header {
	h := dialect.Header(q)
	h.Set("Api-Key", p.apiKey.Reveal())
	return h
}
