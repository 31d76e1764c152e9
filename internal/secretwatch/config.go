package secretwatch

import (
	"errors"
	"log/slog"
	"maps"
	"slices"

	"ais-gateway/internal/config"
)

// Names of secrets. The secrets of a provider have the provider's name.
const (
	CacheKeys = "cache"      // the keys of account lists
	APIKeys   = "clients"    // which are part of the configuration file
	ServerTLS = "server_tls" // the API's certificate, its key, and the CA of client certificates
)

// Names returns the names of all secrets that a configuration can have.
func Names(c *config.Config) []string {
	return append(slices.Sorted(maps.Keys(c.Providers)), CacheKeys, APIKeys, ServerTLS)
}

// Part returns the secret of the part of a configuration at path, which names files. Its Renew
// reads the files and calls apply with the result, or returns config.Faults if that part has
// faults. Settings that are not in secret files are those of c.
func Part(name string, c *config.Config, path string, files []config.File, apply func(now *config.Config) error) Secret {
	return Secret{Name: name, Files: files, Renew: func() error {
		now, err := c.Reload()
		var faults config.Faults
		if errors.As(err, &faults) {
			faults = config.FaultsUnder(faults, path)
		}
		if len(faults) > 0 {
			return faults
		}
		return apply(now)
	}}
}

// Clients returns the secret of the API keys, which are in the configuration file. Its Renew reads
// the file and calls setKeys with the API keys; log has a warning if other settings have changed,
// which need a restart. If the file has faults, Renew returns them and the keys stay as they are.
// It ignores faults of secret files, so that a client that was removed loses access in any case.
func Clients(c *config.Config, log *slog.Logger, setKeys func([]config.APIKey)) Secret {
	s := Secret{Name: APIKeys, Renew: func() error {
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
		setKeys(now.Clients.APIKeys)
		if !c.EqualExceptAPIKeys(now) {
			log.Warn("configuration changed: API keys were reloaded, the rest needs a restart")
		}
		return nil
	}}
	if c.Source().Given() {
		s.Files = []config.File{c.Source()}
	}
	return s
}
