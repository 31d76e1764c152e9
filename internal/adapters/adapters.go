// Package adapters opens the adapters of the configured providers, gives them their transports and
// proxies, and replaces an adapter when its secrets change. cmd has the table of all providers and
// makes the transports.
package adapters

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/upstream"
)

// An Entry describes a provider of the table.
type Entry struct {
	Open providers.Open
	// OneASPSP means that the provider is one ASPSP, which counts unattended calls in one place:
	// the configuration may have one aspsps entry with it.
	OneASPSP bool
	// OwnBaseURLs means that each ASPSP may have a base URL of its own, so that the provider needs
	// none. The adapter reports an ASPSP without one.
	OwnBaseURLs bool
}

// A Table has all providers by their key in the configuration.
type Table map[string]Entry

// Connect makes the transport of a provider.
type Connect func(upstream.Config) *upstream.Transport

// Load reads a configuration file and checks all of it, including the adapters' sections. It opens
// no connection. It returns config.Faults with every fault, or the error of reading the file.
func (t Table) Load(file string) (*config.Config, error) {
	c, err := config.Load(file)
	if c == nil {
		return nil, err
	}
	var faults config.Faults
	if err != nil {
		faults = err.(config.Faults) //nolint:errorlint // with a Config, Load returns only Faults
	}
	_, more := t.Open(c, func(upstream.Config) *upstream.Transport { return upstream.New(upstream.Config{}) })
	faults = append(faults, c.UnknownProviders(slices.Sorted(maps.Keys(t)))...)
	faults = append(faults, c.MissingBaseURLs(func(provider string) bool {
		entry, known := t[provider]
		return known && !entry.OwnBaseURLs
	})...)
	faults = append(faults, c.SecondASPSPs(func(provider string) bool { return t[provider].OneASPSP })...)
	faults = append(faults, more...)
	c.Sort(faults)
	return c, faults.Err()
}

// A Set has the opened adapters of all configured providers. It is safe for concurrent use.
type Set struct {
	table   Table
	connect Connect
	all     map[string]*swappable
}

// Open opens the adapters of all configured providers. It returns all faults of their
// configuration, and then the Set must not be used. Providers that the table does not have are
// ignored.
func (t Table) Open(c *config.Config, connect Connect) (*Set, config.Faults) {
	s, faults := &Set{table: t, connect: connect, all: map[string]*swappable{}}, config.Faults{}
	for name := range c.Providers {
		if _, known := t[name]; !known {
			continue // config.UnknownProviders reports it
		}
		opened, more := s.open(c, name)
		faults = append(faults, more...)
		s.all[name] = &swappable{}
		s.all[name].current.Store(opened)
	}
	return s, faults
}

// Provider returns a provider whose calls use its current adapter. name must be configured.
func (s *Set) Provider(name string) providers.Provider { return s.all[name] }

// Files returns the secret files with which the adapter of a provider was opened. name must be
// configured.
func (s *Set) Files(name string) []config.File { return s.all[name].current.Load().files }

// Reload opens the adapter of a provider with the current configuration and replaces the previous
// one. Calls in progress end with the adapter with which they began. If it returns config.Faults,
// the previous adapter stays in use.
func (s *Set) Reload(name string, now *config.Config) error {
	next, faults := s.open(now, name)
	if len(faults) > 0 {
		return faults
	}
	// The idle connections were made with the previous certificate.
	s.all[name].current.Swap(next).transport.CloseIdle()
	return nil
}

// NotAfter returns by provider when the first certificate of its adapter expires; the zero time if
// it has no certificate.
func (s *Set) NotAfter() map[string]time.Time {
	all := map[string]time.Time{}
	for name, p := range s.all {
		if holder, ok := p.current.Load().Provider.(providers.CertificateHolder); ok {
			all[name] = holder.NotAfter()
		}
	}
	return all
}

// adapter is an opened adapter.
type adapter struct {
	providers.Provider
	transport *upstream.Transport
	files     []config.File // the secrets it was opened with
}

// open opens the adapter of one configured provider, or returns the faults of its configuration.
func (s *Set) open(c *config.Config, name string) (*adapter, config.Faults) {
	common := c.Providers[name]
	base, err := url.Parse(common.BaseURL)
	if err != nil {
		base = &url.URL{} // config.Load reports it; here only the adapter's own faults are of interest
	}
	proxy, err := proxyOf(common)
	if err != nil {
		return nil, c.Locate("providers."+name, err)
	}
	opened := &adapter{files: config.Files(common), transport: s.connect(upstream.Config{
		Provider: name, Timeout: common.Timeout, Roots: common.Roots(), Proxy: proxy,
	})}
	decode := func(into any) error {
		err := c.Decoder(name)(into)
		opened.files = append(opened.files, config.Files(into)...)
		return err
	}
	aspsps, unused := opened.aspsps(c, name)
	opened.Provider, err = s.table[name].Open(decode, providers.Env{BaseURL: base, ASPSPs: aspsps, Client: opened.transport.Client})
	faults := append(c.Locate("providers."+name, err), c.Locate("aspsps", unused().Err())...)
	if len(faults) > 0 {
		return nil, faults
	}
	return opened, nil
}

// aspsps returns the ASPSPs of a provider. unused returns a fault for each one whose options were
// not decoded.
func (a *adapter) aspsps(c *config.Config, provider string) (all []providers.ASPSP, unused func() config.Faults) {
	left := map[string]bool{} // the paths of options that were not decoded
	for i, entry := range c.ASPSPs {
		if entry.Provider != provider {
			continue
		}
		decode, path := c.OptionsDecoder(i)
		left[path] = !entry.Options.IsEmpty()
		all = append(all, providers.ASPSP{ID: entry.ID, Path: path, Options: func(into any) error {
			delete(left, path)
			err := decode(into)
			a.files = append(a.files, config.Files(into)...)
			return err
		}})
	}
	return all, func() (faults config.Faults) {
		for _, path := range slices.Sorted(maps.Keys(left)) {
			if left[path] {
				faults.Add(path, "this provider has no options")
			}
		}
		return faults
	}
}

// swappable is the adapter of one provider, which Reload replaces.
type swappable struct{ current atomic.Pointer[adapter] }

// Accounts implements providers.Provider.
func (p *swappable) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	return p.current.Load().Accounts(ctx, q)
}

// Balances implements providers.Provider.
func (p *swappable) Balances(ctx context.Context, q canonical.Query, accountID string) (canonical.AccountBalances, error) {
	return p.current.Load().Balances(ctx, q, accountID)
}

// Requires implements providers.Requirer. It returns the zero value if the adapter is not a
// Requirer.
func (p *swappable) Requires(aspsp string) providers.Requirements {
	return providers.RequirementsOf(p.current.Load().Provider, aspsp)
}

// ListsWithBalances implements providers.ListerWithBalances. It returns false if the adapter does
// not.
func (p *swappable) ListsWithBalances(aspsp string) bool {
	return providers.CapabilitiesOf(p.current.Load().Provider, aspsp).ListWithBalances
}

// AccountsWithBalances implements providers.ListerWithBalances. It must be called only after
// ListsWithBalances has returned true.
func (p *swappable) AccountsWithBalances(ctx context.Context, q canonical.Query) ([]canonical.AccountWithBalances, error) {
	return p.current.Load().Provider.(providers.ListerWithBalances).AccountsWithBalances(ctx, q)
}

// ReadsAllBalances implements providers.AllBalancesReader. It returns false if the adapter does not.
func (p *swappable) ReadsAllBalances(aspsp string) bool {
	return providers.CapabilitiesOf(p.current.Load().Provider, aspsp).AllBalances
}

// AllBalances implements providers.AllBalancesReader. It must be called only after ReadsAllBalances
// has returned true.
func (p *swappable) AllBalances(ctx context.Context, q canonical.Query) (map[string]canonical.AccountBalances, error) {
	return p.current.Load().Provider.(providers.AllBalancesReader).AllBalances(ctx, q)
}
