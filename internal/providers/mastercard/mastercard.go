// Package mastercard reads account information through Mastercard Open Banking Connect (OBC). cmd/gateway and
// internal/sandbox open it, each from its table of providers. MAPPING.md says what becomes of every member of
// the wire, and why.
package mastercard

import (
	"context"
	"crypto/rsa"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/upstream"
)

// Config is what only this provider has in the configuration.
type Config struct {
	ConsumerKey            string      `yaml:"consumerKey"`            // as the developer portal shows it
	SigningKeyFile         config.File `yaml:"signingKeyFile"`         // PKCS#12 or PEM, told apart by content
	SigningKeyPasswordFile config.File `yaml:"signingKeyPasswordFile"` // of a PKCS#12 or an encrypted PEM
}

// The keys of Config, as faults name them.
const (
	keyConsumer = "consumerKey"
	keyFile     = "signingKeyFile"
	keyPassword = "signingKeyPasswordFile"
)

// The paths that are read: OBC has no account in any.
const (
	routeAccounts = "/accounts"
	routeBalances = "/accounts/account/balances"
)

// Open makes the adapter; it implements providers.Open. Its errors are config.Faults, or what decode returned.
func Open(decode func(into any) error, env providers.Env) (providers.Provider, error) {
	var cfg Config
	var faults config.Faults
	if err := decode(&cfg); err != nil && !errors.As(err, &faults) {
		return nil, err
	}
	key, faults := cfg.check(faults)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	client := env.Client(providers.ClientConfig{
		Sign: signer(cfg.ConsumerKey, key), Routes: []string{routeAccounts, routeBalances}, ClassifyError: refusal,
	})
	return &provider{base: env.BaseURL, timeout: env.Timeout, client: client, ends: upstream.EarliestExpiry(cfg.certificates())}, nil
}

// check returns the signing key, and the faults of the whole: those already known and those found here. A key
// of the file that has a fault already gets no second one, which would only follow from the first.
func (c Config) check(known config.Faults) (*rsa.PrivateKey, config.Faults) {
	faults := slices.Clone(known)
	add := func(path, detail string) {
		if !slices.ContainsFunc(known, func(f config.Fault) bool {
			return f.Path == path || strings.HasSuffix(f.Path, "."+path)
		}) {
			faults.Add(path, detail)
		}
	}
	if c.ConsumerKey == "" {
		add(keyConsumer, "is missing")
	} else if !headerSafe(c.ConsumerKey) {
		add(keyConsumer, "must be printable ASCII without spaces, quotes, commas, backslashes, & and =")
	}
	if !c.SigningKeyFile.Given() {
		add(keyFile, "is missing")
		return nil, faults
	}
	key, fault := c.signingKey()
	if fault != nil {
		add(fault.Path, fault.Detail)
	}
	return key, faults
}

type provider struct {
	base    *url.URL
	timeout time.Duration
	client  providers.Client
	ends    time.Time // the certificates beside the signing key
}

// Accounts implements providers.Provider.
func (p *provider) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	answer, err := p.read(ctx, q, "", routeAccounts)
	if err != nil {
		return nil, err
	}
	return readAccounts(answer.Body, q.RequestID)
}

// Balances implements providers.Provider.
func (p *provider) Balances(ctx context.Context, q canonical.Query, accountID string) (canonical.AccountBalances, error) {
	answer, err := p.read(ctx, q, accountID, routeBalances)
	if err != nil {
		return canonical.AccountBalances{}, err
	}
	return readBalances(answer.Body, q.RequestID, accountID)
}

// read makes the one call of a read: OBC has no pages.
func (p *provider) read(ctx context.Context, q canonical.Query, accountID, route string) (providers.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	body, err := requestBody(q, accountID)
	if err != nil {
		return providers.Answer{}, err
	}
	return p.client.Read(ctx, q, providers.Request{
		Method:  http.MethodPost,
		URL:     upstream.URL(p.base, strings.Split(route[1:], "/")...),
		Route:   route,
		Header:  http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}},
		Body:    body,
		Account: accountID,
	})
}
