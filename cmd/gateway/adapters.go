package main

import (
	"context"
	"net/url"
	"sync/atomic"

	"golang.org/x/net/http/httpproxy"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/mastercard"
	"ais-gateway/internal/providers/mypos"
	"ais-gateway/internal/providers/upstream"
)

// adapterEntry is what the gateway knows of a provider before the configuration is read.
type adapterEntry struct {
	open providers.Open
	// oneASPSP means that the provider is one ASPSP, which counts unattended calls in one place: the configuration
	// may have one aspsps entry with it.
	oneASPSP bool
}

// adapters is the table of providers. To add a provider, add a folder below internal/providers and a line here. The
// name is the provider's key in the configuration.
var adapters = map[string]adapterEntry{
	"mastercard": {open: mastercard.Open},
	"mypos":      {open: mypos.Open, oneASPSP: true},
}

// oneASPSP reports whether a provider is one ASPSP.
func oneASPSP(provider string) bool { return adapters[provider].oneASPSP }

// newTransport makes the transport of a provider.
type newTransport func(upstream.Config) *upstream.Transport

// adapter is an opened adapter.
type adapter struct {
	providers.Provider
	transport *upstream.Transport
	files     []config.File // the secrets it was opened with
}

// openAdapters opens the adapters of all configured providers and returns them by name, or returns the faults of their
// configuration.
func openAdapters(c *config.Config, connect newTransport) (map[string]adapter, config.Faults) {
	opened, faults := map[string]adapter{}, config.Faults{}
	for name := range c.Providers {
		if _, known := adapters[name]; !known {
			continue // UnknownProviders reports it
		}
		one, more := openAdapter(c, name, connect)
		if len(more) > 0 {
			faults = append(faults, more...)
			continue
		}
		opened[name] = one
	}
	return opened, faults
}

// openAdapter opens the adapter of one configured provider, or returns the faults of its configuration.
func openAdapter(c *config.Config, name string, connect newTransport) (adapter, config.Faults) {
	common := c.Providers[name]
	base, err := url.Parse(common.BaseURL)
	if err != nil {
		base = &url.URL{} // config.Load reports it; here only the adapter's own faults are of interest
	}
	proxy, err := proxyOf(common)
	if err != nil {
		return adapter{}, c.Locate("providers."+name, err)
	}
	one := adapter{files: config.Files(common), transport: connect(upstream.Config{
		Provider: name, Timeout: common.Timeout, Roots: common.Roots(), Proxy: proxy,
	})}
	decode := func(into any) error {
		err := c.Decoder(name)(into)
		one.files = append(one.files, config.Files(into)...)
		return err
	}
	if one.Provider, err = adapters[name].open(decode, providers.Env{BaseURL: base, Client: one.transport.Client}); err != nil {
		return adapter{}, c.Locate("providers."+name, err)
	}
	return one, nil
}

// proxyOf returns the function that chooses the proxy of a call to a provider from the environment, or nil if the
// configuration does not want one. Only proxies with an http URL are accepted: the gateway opens a tunnel through the proxy,
// which does not see the content.
func proxyOf(p config.Provider) (func(*url.URL) (*url.URL, error), error) {
	if p.Proxy != config.EnvironmentProxy {
		return nil, nil
	}
	environment := httpproxy.FromEnvironment()
	// httpproxy ignores a value that it cannot parse, and calls would bypass the proxy.
	httpsOnly := httpproxy.Config{HTTPSProxy: environment.HTTPSProxy}
	proxy, err := httpsOnly.ProxyFunc()(&url.URL{Scheme: "https", Host: "provider.invalid"})
	if environment.HTTPSProxy != "" && (err != nil || proxy == nil || proxy.Scheme != "http") {
		return nil, config.Faults{{Path: "proxy", Detail: "requires an http URL in the environment variable HTTPS_PROXY"}}
	}
	return environment.ProxyFunc(), nil
}

// swappableProvider is the adapter of one provider, which a reload of its secrets replaces. Calls in progress end with the
// adapter with which they began.
type swappableProvider struct{ current atomic.Pointer[adapter] }

func swappableProviders(opened map[string]adapter) map[string]*swappableProvider {
	all := map[string]*swappableProvider{}
	for name, one := range opened {
		all[name] = &swappableProvider{}
		all[name].current.Store(&one)
	}
	return all
}

// swap replaces the adapter, and closes the idle connections of the old one: they were made with its certificate.
func (p *swappableProvider) swap(next adapter) { p.current.Swap(&next).transport.CloseIdle() }

// Accounts implements providers.Provider.
func (p *swappableProvider) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	return p.current.Load().Accounts(ctx, q)
}

// Balances implements providers.Provider.
func (p *swappableProvider) Balances(ctx context.Context, q canonical.Query, accountID string) (canonical.AccountBalances, error) {
	return p.current.Load().Balances(ctx, q, accountID)
}

// Check implements providers.Checker. It returns nil if the adapter does not.
func (p *swappableProvider) Check(q canonical.Query) []canonical.FieldError {
	if c, ok := p.current.Load().Provider.(providers.Checker); ok {
		return c.Check(q)
	}
	return nil
}
