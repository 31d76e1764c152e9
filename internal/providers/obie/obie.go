// Package obie implements the adapter for banks of UK Open Banking (the OBIE Read/Write standard,
// versions 3.1 and 4.0). MAPPING.md documents how each member of its API is mapped, and why.
package obie

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
	"ais-gateway/internal/providers/paging"
)

// The route templates for telemetry. Real paths contain account ids.
const (
	routeAccounts    = "/open-banking/{version}/aisp/accounts"
	routeBalances    = "/open-banking/{version}/aisp/accounts/{AccountId}/balances"
	routeAllBalances = "/open-banking/{version}/aisp/balances"
)

// The headers of a request, as http.Header.Set writes them.
const (
	headerInteractionID = "X-Fapi-Interaction-Id"
	headerCustomerIP    = "X-Fapi-Customer-Ip-Address"
	headerCustomerAgent = "X-Customer-User-Agent"

	maxHeaders = 5 // that the adapter sets
)

// requirements: the token names the consent at the ASPSP, so that no read is possible without it.
var requirements = providers.Requirements{Token: true}

type provider struct {
	aspsps     map[string]*aspsp // by id
	client     providers.Client
	certExpiry time.Time // of the client certificate
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
	aspsps, err := adapterconfig.OpenASPSPs(env, &faults, func(entry providers.ASPSP, o Options) *aspsp {
		a := o.open(env, entry, &faults)
		bases = append(bases, a.base)
		return a
	})
	if err != nil {
		return nil, err
	}
	certificate := adapterconfig.ClientCertificate(cfg.ClientCertificateFile, cfg.ClientKeyFile, &faults, bases...)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	p := &provider{aspsps: aspsps}
	if certificate != nil {
		p.certExpiry = providers.EarliestExpiry(certificate.Certificate)
	}
	p.client = env.Client(providers.ClientConfig{
		Certificate: certificate, Routes: []string{routeAccounts, routeBalances, routeAllBalances}, ClassifyError: p.classifyError,
	})
	return p, nil
}

// Requires implements providers.Requirer.
func (p *provider) Requires(string) providers.Requirements { return requirements }

// NotAfter implements providers.CertificateHolder, for the client certificate and its chain.
func (p *provider) NotAfter() time.Time { return p.certExpiry }

// ReadsAllBalances implements providers.AllBalancesReader.
func (p *provider) ReadsAllBalances(aspsp string) bool {
	a := p.aspsps[aspsp]
	return a != nil && a.bulk
}

// Accounts implements providers.Provider.
func (p *provider) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	list := adapter.AccountList{Accounts: []canonical.Account{}}
	err := p.read(ctx, q, providers.Request{Route: routeAccounts}, []string{"accounts"}, func(a *aspsp, page wirePage) error {
		return page.addAccounts(&list, a.version)
	})
	if err != nil {
		return nil, err
	}
	return list.Accounts, nil
}

// Balances implements providers.Provider.
func (p *provider) Balances(ctx context.Context, q canonical.Query, accountID string) (canonical.AccountBalances, error) {
	if failure := adapter.CheckAccount(q, requirements, accountID); failure != nil {
		return canonical.AccountBalances{}, failure
	}
	var found balanceSet
	r := providers.Request{Route: routeBalances, Account: accountID}
	err := p.read(ctx, q, r, []string{"accounts", accountID, "balances"}, func(_ *aspsp, page wirePage) error {
		return found.add(page, accountID)
	})
	if err != nil {
		return canonical.AccountBalances{}, err
	}
	balances := found.byAccount()[accountID]
	if balances.Balances == nil {
		balances.Balances = []canonical.Balance{}
	}
	return balances, nil
}

// AllBalances implements providers.AllBalancesReader.
func (p *provider) AllBalances(ctx context.Context, q canonical.Query) (map[string]canonical.AccountBalances, error) {
	var found balanceSet
	r := providers.Request{Route: routeAllBalances, AllBalances: true}
	err := p.read(ctx, q, r, []string{"balances"}, func(_ *aspsp, page wirePage) error { return found.add(page, "") })
	if err != nil {
		return nil, err
	}
	return found.byAccount(), nil
}

// read makes the calls of one read, to the path of the segments below the ASPSP's base URL. add is
// called with each page.
func (p *provider) read(
	ctx context.Context, q canonical.Query, r providers.Request, segments []string, add func(*aspsp, wirePage) error,
) error {
	if failure := adapter.CheckQuery(q, requirements); failure != nil {
		return failure
	}
	a := p.aspsps[q.ASPSP]
	if a == nil {
		return canonical.NewError(canonical.ASPSPUnknown, "")
	}
	r.Method, r.Header = http.MethodGet, a.headerOf(q)
	r.URL = adapter.URL(a.base, append([]string{"open-banking", a.version, "aisp"}, segments...)...)
	return paging.ReadPages(ctx, p.client, q, a.base, r, func(resp providers.Response) (next string, total int, err error) {
		page, err := readPage(q, resp)
		if err != nil {
			return "", 0, err
		}
		next, total = page.next()
		return next, total, add(a, page)
	})
}

// headerOf returns the header of a request. The consent id is not in it: the ASPSP knows the consent
// by the token.
func (a *aspsp) headerOf(q canonical.Query) http.Header {
	h := make(http.Header, len(a.header)+maxHeaders)
	for name, value := range a.header {
		h[name] = []string{value.Reveal()}
	}
	h.Set("Accept", "application/json")
	h.Set("Authorization", "Bearer "+q.Token.Reveal())
	h.Set(headerInteractionID, q.RequestID)
	if q.PSU == nil {
		return h
	}
	h.Set(headerCustomerIP, q.PSU.IP.String())
	if agent := q.PSU.UserAgent; agent != "" && providers.Printable(agent) {
		h.Set(headerCustomerAgent, agent)
	}
	return h
}

// checkInteractionID returns ProviderInvalidResponse if a response, of any status, contains the id
// of another request. A missing or empty id is accepted.
func checkInteractionID(q canonical.Query, resp providers.Response) *canonical.Error {
	for _, echo := range resp.Header.Values(headerInteractionID) {
		if !adapter.SameRequestID(echo, q.RequestID) {
			return adapter.WrongRequest(resp.Status)
		}
	}
	return nil
}
