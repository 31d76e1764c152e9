package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/secretwatch"
)

// The parts whose secrets are renewed, besides each provider, which has its own name.
const (
	partCache   = "cache"      // the keys of account lists
	partClients = "clients"    // the API keys, which stand in the configuration itself
	partTLS     = "server_tls" // the API's certificate, its key, and who vouches for callers
)

// partNames are all the parts that there may be.
func partNames(c *config.Config) []string {
	return append(slices.Sorted(maps.Keys(c.Providers)), partCache, partClients, partTLS)
}

// secrets are what is in use of secrets, where others can take its place.
type secrets struct {
	connect connector
	readers map[string]*reader
	lists   *cache.Cache
	setKeys func([]config.APIKey)
}

// parts are what can be renewed: of each the files, and how they are taken over. Whatever else the configuration says stays
// as it was at the start.
func (p *program) parts(c *config.Config) []secretwatch.Secret {
	var all []secretwatch.Secret
	add := func(name string, files []config.File, take func() error) {
		if len(files) > 0 {
			all = append(all, secretwatch.Secret{Name: name, Files: files, Renew: take})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.secrets.readers)) {
		r := p.secrets.readers[name]
		add(name, r.now.Load().files, func() error { return p.renewProvider(c, name, r) })
	}
	add(partCache, config.Files(c.Cache), func() error {
		return again(c, "cache", func(now *config.Config) error { return p.secrets.lists.SetKeys(now.Cache.Keys()) })
	})
	add(partTLS, config.Files(c.Server.TLS), func() error {
		return again(c, "server.tls", func(now *config.Config) error { return p.secure.renew(now.Server.TLS) })
	})
	if c.Source().Given() {
		add(partClients, []config.File{c.Source()}, func() error { return p.renewClients(c) })
	}
	return all
}

// again reads the configuration's part at path with its files as they stand now, and has it taken if it is without fault.
// Faults elsewhere are none of its.
func again(c *config.Config, path string, take func(now *config.Config) error) error {
	now, err := c.Again()
	var faults config.Faults
	if errors.As(err, &faults) {
		faults = config.FaultsUnder(faults, path)
	}
	if len(faults) > 0 {
		return faults
	}
	return take(now)
}

func (p *program) renewProvider(c *config.Config, name string, r *reader) error {
	return again(c, "providers."+name, func(now *config.Config) error {
		next, faults := openAdapter(now, name, p.secrets.connect)
		if len(faults) > 0 {
			return faults
		}
		r.swap(next)
		return nil
	})
}

// renewClients takes the API keys from the configuration's file as it stands now, and nothing else. A file with a fault is
// not taken at its word, but secrets that cannot be read are no reason to let in whom it no longer names.
func (p *program) renewClients(c *config.Config) error {
	now, err := config.Load(c.Source().Path())
	var faults config.Faults
	if errors.As(err, &faults) && now != nil {
		faults = config.WithoutSecretFiles(faults)
	}
	if len(faults) > 0 {
		return faults
	}
	if len(now.Clients.APIKeys) == 0 && len(c.Clients.OIDC) == 0 { // issuers are those of the start
		return config.Faults{{Path: "clients.apiKeys", Detail: "must not be empty (clients.oidc takes effect after a restart)"}}
	}
	p.secrets.setKeys(now.Clients.APIKeys)
	if !c.SameButKeys(now) {
		p.log.Warn("configuration changed: API keys were reloaded, the rest needs a restart")
	}
	return nil
}

// renewed counts what came of a renewal.
func (p *program) renewed(ctx context.Context, part string, ok bool) {
	outcome := "failed"
	if ok {
		outcome = "ok"
	}
	p.telemetry.Reload(ctx, part, outcome)
}

// staleSecrets are what is wrong with the files of secrets, for whoever runs the gateway.
func (p *program) staleSecrets() []string {
	var all []string
	stale := p.renewal.Stale()
	for _, part := range slices.Sorted(maps.Keys(stale)) {
		if stale[part] {
			all = append(all, "secrets of "+part+" could not be reloaded, the previous ones are still in use: the log lists the faults")
		}
	}
	return all
}

// A reader is the adapter of one provider, in whose place another can come: calls that are under way end with the one that
// they began with.
type reader struct{ now atomic.Pointer[adapter] }

func readers(opened map[string]adapter) map[string]*reader {
	all := map[string]*reader{}
	for name, one := range opened {
		all[name] = &reader{}
		all[name].now.Store(&one)
	}
	return all
}

// swap puts another adapter in the place of the one that is there. Connections that were made with the old one's
// certificate serve nobody any more.
func (r *reader) swap(next adapter) { r.now.Swap(&next).wire.CloseIdle() }

// Accounts implements providers.Provider.
func (r *reader) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	return r.now.Load().Accounts(ctx, q)
}

// Balances implements providers.Provider.
func (r *reader) Balances(ctx context.Context, q canonical.Query, accountID string) (canonical.AccountBalances, error) {
	return r.now.Load().Balances(ctx, q, accountID)
}

// Check implements providers.Checker, for adapters that do.
func (r *reader) Check(q canonical.Query) []canonical.FieldError {
	if c, ok := r.now.Load().Provider.(providers.Checker); ok {
		return c.Check(q)
	}
	return nil
}
