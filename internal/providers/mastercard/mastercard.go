// Package mastercard implements the adapter for Mastercard Open Banking Connect (OBC). MAPPING.md
// documents how each member of its API is mapped, and why.
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
	"ais-gateway/internal/providers/adapter"
)

// Config contains the configuration keys of this provider.
type Config struct {
	ConsumerKey            string      `yaml:"consumerKey"`            // from the developer portal
	SigningKeyFile         config.File `yaml:"signingKeyFile"`         // PKCS#12 or PEM, detected by content
	SigningKeyPasswordFile config.File `yaml:"signingKeyPasswordFile"` // for PKCS#12 or an encrypted PEM
}

// The keys of Config in faults.
const (
	keyConsumer = "consumerKey"
	keyFile     = "signingKeyFile"
	keyPassword = "signingKeyPasswordFile"
)

// The paths of the API. They contain no account ids.
const (
	routeAccounts = "/accounts"
	routeBalances = "/accounts/account/balances"
)

// Open creates the adapter. It implements providers.Open. Its errors are config.Faults or the error
// of decode.
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
		Sign: signer(cfg.ConsumerKey, key), Routes: []string{routeAccounts, routeBalances}, ClassifyError: classifyError,
	})
	return &provider{base: env.BaseURL, client: client, certExpiry: providers.EarliestExpiry(cfg.certificates())}, nil
}

// check validates the configuration. It returns the signing key, and all faults: the known ones and
// those found here. A configuration key with a known fault gets no second one, which would only be
// a consequence of the first.
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
	base       *url.URL
	client     providers.Client
	certExpiry time.Time // of the certificates in the signing key's file
}

// Accounts implements providers.Provider.
func (p *provider) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	resp, err := p.read(ctx, q, "", routeAccounts)
	if err != nil {
		return nil, err
	}
	return readAccounts(resp.Body, q.RequestID)
}

// Balances implements providers.Provider.
func (p *provider) Balances(ctx context.Context, q canonical.Query, accountID string) (canonical.AccountBalances, error) {
	resp, err := p.read(ctx, q, accountID, routeBalances)
	if err != nil {
		return canonical.AccountBalances{}, err
	}
	return readBalances(resp.Body, q.RequestID, accountID)
}

// read makes the only call of a read. OBC has no pages.
func (p *provider) read(ctx context.Context, q canonical.Query, accountID, route string) (providers.Response, error) {
	body, err := requestBody(q, accountID)
	if err != nil {
		return providers.Response{}, err
	}
	return p.client.Read(ctx, q, providers.Request{
		Method:  http.MethodPost,
		URL:     adapter.URL(p.base, strings.Split(route[1:], "/")...),
		Route:   route,
		Header:  http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}},
		Body:    body,
		Account: accountID,
	})
}
