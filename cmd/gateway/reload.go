package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/secretwatch"
)

// Names of secrets that are reloaded. The secrets of a provider have the provider's name.
const (
	cacheSecrets  = "cache"      // the keys of account lists
	clientSecrets = "clients"    // the API keys, which are part of the configuration file
	tlsSecrets    = "server_tls" // the API's certificate, its key, and the CA of client certificates
)

// secretNames returns all names of secrets that a configuration can have.
func secretNames(c *config.Config) []string {
	return append(slices.Sorted(maps.Keys(c.Providers)), cacheSecrets, clientSecrets, tlsSecrets)
}

// secrets are the users of secrets, which take over reloaded ones.
type secrets struct {
	newTransport newTransport
	providers    map[string]*swappableProvider
	lists        *cache.Cache
	setKeys      func([]config.APIKey)
}

// reloadableSecrets returns the secrets with their files and the functions that reload them. All other settings stay as they
// were at the start.
func (a *app) reloadableSecrets(c *config.Config) []secretwatch.Secret {
	var all []secretwatch.Secret
	add := func(name string, files []config.File, reload func() error) {
		if len(files) > 0 {
			all = append(all, secretwatch.Secret{Name: name, Files: files, Renew: reload})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.secrets.providers)) {
		p := a.secrets.providers[name]
		add(name, p.current.Load().files, func() error { return a.reloadProvider(c, name, p) })
	}
	add(cacheSecrets, config.Files(c.Cache), func() error {
		return reloadPart(c, "cache", func(now *config.Config) error { return a.secrets.lists.SetKeys(now.Cache.Keys()) })
	})
	add(tlsSecrets, config.Files(c.Server.TLS), func() error {
		return reloadPart(c, "server.tls", func(now *config.Config) error {
			a.server.ReloadTLS(now.Server.TLS.Server())
			return nil
		})
	})
	if c.Source().Given() {
		add(clientSecrets, []config.File{c.Source()}, func() error { return a.reloadClients(c) })
	}
	return all
}

// reloadPart reads the part of the configuration at path with its secret files as they are now, and calls apply if it has no
// faults. It returns the faults of that part only.
func reloadPart(c *config.Config, path string, apply func(now *config.Config) error) error {
	now, err := c.Reload()
	var faults config.Faults
	if errors.As(err, &faults) {
		faults = config.FaultsUnder(faults, path)
	}
	if len(faults) > 0 {
		return faults
	}
	return apply(now)
}

func (a *app) reloadProvider(c *config.Config, name string, p *swappableProvider) error {
	return reloadPart(c, "providers."+name, func(now *config.Config) error {
		next, faults := openAdapter(now, name, a.secrets.newTransport)
		if len(faults) > 0 {
			return faults
		}
		p.swap(next)
		return nil
	})
}

// reloadClients takes the API keys, and nothing more, from the configuration file as it is now. If the file has faults, the
// keys stay as they are. Faults of secret files do not count, so that a client that was removed loses access in any case.
func (a *app) reloadClients(c *config.Config) error {
	now, err := config.Load(c.Source().Path())
	var faults config.Faults
	if errors.As(err, &faults) && now != nil {
		faults = config.WithoutSecretFiles(faults)
	}
	if len(faults) > 0 {
		return faults
	}
	if len(now.Clients.APIKeys) == 0 && len(c.Clients.OIDC) == 0 { // the token issuers are those of the start
		return config.Faults{{Path: "clients.apiKeys", Detail: "must not be empty (clients.oidc takes effect after a restart)"}}
	}
	a.secrets.setKeys(now.Clients.APIKeys)
	if !c.EqualExceptAPIKeys(now) {
		a.log.Warn("configuration changed: API keys were reloaded, the rest needs a restart")
	}
	return nil
}

// countReload counts a reload.
func (a *app) countReload(ctx context.Context, name string, ok bool) {
	outcome := "failed"
	if ok {
		outcome = "ok"
	}
	a.telemetry.Reload(ctx, name, outcome)
}

// staleSecrets returns the operator's warnings about secrets that could not be reloaded.
func (a *app) staleSecrets() []string {
	var all []string
	stale := a.watcher.Stale()
	for _, name := range slices.Sorted(maps.Keys(stale)) {
		if stale[name] {
			all = append(all, "secrets of "+name+" could not be reloaded, the previous ones are still in use: the log lists the faults")
		}
	}
	return all
}

// certificateExpiry returns, by name of the secrets, when the first certificate in use expires. Metric
// ais.certificate.not_after reports it.
func (a *app) certificateExpiry() map[string]time.Time {
	all := map[string]time.Time{}
	add := func(name string, expiry time.Time) {
		if !expiry.IsZero() {
			all[name] = expiry
		}
	}
	for name, p := range a.secrets.providers {
		if c, ok := p.current.Load().Provider.(providers.CertificateHolder); ok {
			add(name, c.NotAfter())
		}
	}
	for _, c := range a.server.Certificates() {
		add(tlsSecrets, providers.EarliestExpiry(c.Certificate))
	}
	return all
}
