// Package berlingroup implements the adapter for ASPSPs whose API is that of the Berlin Group
// (NextGenPSD2 XS2A 1.3). One provider serves many ASPSPs, which differ in their options.
// MAPPING.md documents how each member is mapped, and why; FORMS.md shows how the forms that banks
// send are read.
package berlingroup

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
	"ais-gateway/internal/providers/adapterconfig"
	"ais-gateway/internal/providers/berlingroup/dialect"
	"ais-gateway/internal/providers/httpsig"
	"ais-gateway/internal/providers/paging"
)

// The route templates for telemetry. Real paths contain account ids.
const (
	routeAccounts = "/{version}/accounts"
	routeBalances = "/{version}/accounts/{resourceId}/balances"
)

type provider struct {
	aspsps     map[string]aspsp // by id
	client     providers.Client
	certExpiry time.Time // the earliest of the client and signing certificates and their chains
}

// Open creates the adapter. It implements providers.Open. It returns config.Faults with the faults of
// the keys, the options and the files, or the first other error of decoding.
func Open(decode func(into any) error, env providers.Env) (providers.Provider, error) {
	var cfg Config
	var faults config.Faults
	if err := decode(&cfg); err != nil && !errors.As(err, &faults) {
		return nil, err
	}
	var bases []*url.URL
	aspsps, err := adapterconfig.OpenASPSPs(env, &faults, func(entry providers.ASPSP, o Options) aspsp {
		a := o.open(env, entry, &faults)
		bases = append(bases, a.base)
		return a
	})
	if err != nil {
		return nil, err
	}
	certificate := adapterconfig.ClientCertificate(cfg.ClientCertificateFile, cfg.ClientKeyFile, &faults, bases...)
	signer := httpsig.New(cfg.SigningCertificateFile, cfg.SigningKeyFile, &faults)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	chain := signer.Certificates()
	if certificate != nil {
		chain = slices.Concat(chain, certificate.Certificate)
	}
	p := &provider{aspsps: aspsps, certExpiry: providers.EarliestExpiry(chain)}
	p.client = env.Client(providers.ClientConfig{
		Certificate: certificate, Sign: signer.Sign, Routes: []string{routeAccounts, routeBalances}, ClassifyError: p.classify,
	})
	return p, nil
}

// classify implements providers.ClientConfig.ClassifyError.
func (p *provider) classify(q canonical.Query, r providers.Request, resp providers.Response) *canonical.Error {
	return dialect.Classifier{Codes: p.aspsps[q.ASPSP].codes}.Classify(q, r, resp)
}

// Requires implements providers.Requirer.
func (p *provider) Requires(aspsp string) providers.Requirements { return p.aspsps[aspsp].requirements }

// ListsWithBalances implements providers.ListerWithBalances.
func (p *provider) ListsWithBalances(aspsp string) bool { return p.aspsps[aspsp].withBalance }

// NotAfter implements providers.CertificateHolder, for the client certificate and that of the
// signatures, with their chains.
func (p *provider) NotAfter() time.Time { return p.certExpiry }

// Accounts implements providers.Provider. Balances in the list are ignored.
func (p *provider) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	list, err := p.readList(ctx, q, false)
	return list.Accounts, err
}

// AccountsWithBalances implements providers.ListerWithBalances.
func (p *provider) AccountsWithBalances(ctx context.Context, q canonical.Query) ([]canonical.AccountWithBalances, error) {
	list, err := p.readList(ctx, q, true)
	if err != nil {
		return nil, err
	}
	all := make([]canonical.AccountWithBalances, len(list.Accounts))
	for i, account := range list.Accounts {
		all[i] = canonical.AccountWithBalances{Account: account, Balances: list.balances[i]}
	}
	return all, nil
}

// readList returns all pages of the account list, with or without balances.
func (p *provider) readList(ctx context.Context, q canonical.Query, withBalances bool) (accountList, error) {
	if failure := adapter.CheckQuery(q, p.Requires(q.ASPSP)); failure != nil {
		return accountList{}, failure
	}
	list, query := accountList{withBalances: withBalances}, ""
	if withBalances {
		query = "withBalance=true"
	}
	err := p.read(ctx, q, providers.Request{Route: routeAccounts}, query, func(a aspsp, page wirePage) error {
		return list.addPage(page, a.balanceTypes)
	})
	if err != nil {
		return accountList{}, err
	}
	return list, nil
}

// Balances implements providers.Provider.
func (p *provider) Balances(ctx context.Context, q canonical.Query, accountID string) (canonical.AccountBalances, error) {
	if failure := adapter.CheckAccount(q, p.Requires(q.ASPSP), accountID); failure != nil {
		return canonical.AccountBalances{}, failure
	}
	found, r := canonical.AccountBalances{Balances: []canonical.Balance{}}, providers.Request{Route: routeBalances, Account: accountID}
	err := p.read(ctx, q, r, "", func(a aspsp, page wirePage) error { return page.addTo(&found, accountID, a.balanceTypes) })
	if err != nil {
		return canonical.AccountBalances{}, err
	}
	return found, nil
}

// read makes the calls of one read: of the account list, or of the balances of r.Account. add is
// called with each page.
func (p *provider) read(ctx context.Context, q canonical.Query, r providers.Request, query string, add func(aspsp, wirePage) error) error {
	a, known := p.aspsps[q.ASPSP]
	if !known {
		return canonical.NewError(canonical.ASPSPUnknown, "")
	}
	r.Method, r.URL, r.Header = http.MethodGet, adapter.URL(a.base, a.version, "accounts"), a.headerOf(q)
	if r.Account != "" {
		r.URL = adapter.URL(r.URL, r.Account, "balances")
	}
	r.URL.RawQuery = query
	return paging.ReadPages(ctx, p.client, q, a.base, r, func(resp providers.Response) (next string, total int, err error) {
		var page wirePage
		if err := dialect.Decode(q, resp, &page); err != nil {
			return "", 0, err
		}
		if err := page.ErrorInSuccess(); err != nil {
			return "", 0, err
		}
		return page.next(), 0, add(a, page)
	})
}

// headerOf returns the header of a request.
func (a aspsp) headerOf(q canonical.Query) http.Header {
	h := dialect.Header(q)
	if q.PSU != nil && q.PSU.UserAgent != "" && providers.Printable(q.PSU.UserAgent) {
		h.Set("Psu-User-Agent", q.PSU.UserAgent)
	}
	for name, value := range a.header {
		h[name] = []string{value.Reveal()}
	}
	return h
}
