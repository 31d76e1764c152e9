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
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
	"ais-gateway/internal/providers/berlingroup/dialect"
)

// The route templates for telemetry. Real paths contain account ids.
const (
	routeAccounts = "/{version}/accounts"
	routeBalances = "/{version}/accounts/{resourceId}/balances"
)

// classifier classifies the error responses of an ASPSP without own codes.
var classifier = dialect.Classifier{
	Statuses:        map[int]canonical.Kind{http.StatusUnauthorized: canonical.ConsentInvalid},
	AccountNotFound: true,
}

type provider struct {
	aspsps     map[string]*aspsp // by id
	client     providers.Client
	certExpiry time.Time // of the client certificate
}

// Open creates the adapter. It implements providers.Open. Its errors are config.Faults, including
// those of decode and of the ASPSPs' options, or another error of these functions.
func Open(decode func(into any) error, env providers.Env) (providers.Provider, error) {
	var cfg Config
	var faults config.Faults
	if err := decode(&cfg); err != nil && !errors.As(err, &faults) {
		return nil, err
	}
	p := &provider{aspsps: make(map[string]*aspsp, len(env.ASPSPs))}
	for _, entry := range env.ASPSPs {
		var o Options
		var more config.Faults
		if err := entry.Options(&o); err != nil && !errors.As(err, &more) {
			return nil, err
		}
		faults = append(faults, more...)
		p.aspsps[entry.ID] = newASPSP(env, entry, o, &faults)
	}
	certificate := adapter.ClientCertificate(cfg.ClientCertificateFile, cfg.ClientKeyFile, p.remoteBase(), &faults)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	if certificate != nil {
		p.certExpiry = providers.EarliestExpiry(certificate.Certificate)
	}
	p.client = env.Client(providers.ClientConfig{
		Certificate: certificate, Routes: []string{routeAccounts, routeBalances}, ClassifyError: p.classify,
	})
	return p, nil
}

// remoteBase returns a base URL that requires a client certificate; nil if no ASPSP has one.
func (p *provider) remoteBase() *url.URL {
	for _, a := range p.aspsps {
		if a.base != nil && a.base.Scheme == "https" && !config.IsLoopback(a.base.Hostname()) {
			return a.base
		}
	}
	return nil
}

// classify implements providers.ClientConfig.ClassifyError.
func (p *provider) classify(q canonical.Query, r providers.Request, resp providers.Response) *canonical.Error {
	return p.aspsps[q.ASPSP].classifier.Classify(q, r, resp)
}

// Requires implements providers.Requirer.
func (p *provider) Requires(aspsp string) providers.Requirements {
	if a, ok := p.aspsps[aspsp]; ok {
		return a.requirements
	}
	return providers.Requirements{}
}

// NotAfter implements providers.CertificateHolder, for the client certificate and its chain.
func (p *provider) NotAfter() time.Time { return p.certExpiry }

// Accounts returns the account list, all its pages. Balances in it are ignored.
func (p *provider) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	var list accountList
	if err := p.readList(ctx, q, "", &list); err != nil {
		return nil, err
	}
	return list.Accounts, nil
}

// ListsWithBalances implements providers.ListerWithBalances.
func (p *provider) ListsWithBalances(aspsp string) bool {
	a, ok := p.aspsps[aspsp]
	return ok && a.withBalance
}

// AccountsWithBalances implements providers.ListerWithBalances.
func (p *provider) AccountsWithBalances(ctx context.Context, q canonical.Query) ([]canonical.AccountWithBalances, error) {
	list := accountList{withBalances: true}
	if err := p.readList(ctx, q, "withBalance=true", &list); err != nil {
		return nil, err
	}
	all := make([]canonical.AccountWithBalances, len(list.Accounts))
	for i, account := range list.Accounts {
		all[i] = canonical.AccountWithBalances{Account: account, Balances: list.balances[i]}
	}
	return all, nil
}

// readList adds all pages of the account list to list.
func (p *provider) readList(ctx context.Context, q canonical.Query, query string, list *accountList) error {
	a, ok := p.aspsps[q.ASPSP]
	if !ok {
		return unknownASPSP()
	}
	if failure := adapter.CheckQuery(q, a.requirements); failure != nil {
		return failure
	}
	r := a.request(q, routeAccounts)
	r.URL.RawQuery = query
	return p.readPages(ctx, q, r, func(page providers.Response) (next string, err error) {
		var w wireAccounts
		if err := dialect.Decode(q, page, &w); err != nil {
			return "", err
		}
		return w.Links.Value.next(), list.addPage(w, a.balanceTypes)
	})
}

// Balances returns the balances of one account.
func (p *provider) Balances(ctx context.Context, q canonical.Query, accountID string) (canonical.AccountBalances, error) {
	a, ok := p.aspsps[q.ASPSP]
	if !ok {
		return canonical.AccountBalances{}, unknownASPSP()
	}
	if failure := adapter.CheckAccount(q, a.requirements, accountID); failure != nil {
		return canonical.AccountBalances{}, failure
	}
	r := a.request(q, routeBalances, accountID, "balances")
	r.Account = accountID
	found := canonical.AccountBalances{Balances: []canonical.Balance{}}
	err := p.readPages(ctx, q, r, func(page providers.Response) (next string, err error) {
		var w wireBalances
		if err := dialect.Decode(q, page, &w); err != nil {
			return "", err
		}
		return w.Links.Value.next(), w.addTo(&found, accountID, a.balanceTypes)
	})
	if err != nil {
		return canonical.AccountBalances{}, err
	}
	return found, nil
}

// unknownASPSP returns the error for a query with an ASPSP that is not in Env. The gateway makes
// none.
func unknownASPSP() error {
	return canonical.NewError(canonical.InternalError, "the provider does not have this ASPSP")
}

// readPages makes the calls of one read. add takes each page and returns its link to the next one.
func (p *provider) readPages(ctx context.Context, q canonical.Query, r providers.Request, add func(providers.Response) (next string, err error)) error {
	pages := adapter.NewPages(q, p.aspsps[q.ASPSP].base, r.URL)
	r.Next = func(page providers.Response) (*url.URL, error) {
		link, err := add(page)
		if err != nil {
			return nil, err
		}
		return pages.Next(page, link, 0)
	}
	_, err := p.client.Read(ctx, q, r)
	return err
}

// request returns a request for a path below accounts.
func (a *aspsp) request(q canonical.Query, route string, path ...string) providers.Request {
	h := dialect.Header(q)
	if q.PSU != nil && q.PSU.UserAgent != "" {
		h.Set("Psu-User-Agent", q.PSU.UserAgent)
	}
	for name, value := range a.header {
		h[name] = []string{value.Reveal()}
	}
	segments := append([]string{a.version, "accounts"}, path...)
	return providers.Request{Method: http.MethodGet, URL: adapter.URL(a.base, segments...), Route: route, Header: h}
}
