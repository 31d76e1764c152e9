// Package auth authenticates clients by API key or by a token (JWT) of an OpenID Connect issuer,
// and applies their rate limits. internal/api calls it for every request. cmd creates it, runs the
// refresh of the issuers' keys, and replaces API keys after a reload.
package auth

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
)

// Config is the input of New. Clients must come from a configuration without faults.
type Config struct {
	Clients config.Clients
	Now     func() time.Time
	Logger  *slog.Logger // for failures to fetch an issuer's keys, and for the recovery
	// Pseudonym returns a keyed hash of an issuer, a claim and its value. It replaces client names
	// in the log that could identify a person. If it is nil, "hidden" is logged.
	Pseudonym func(parts ...string) string
}

// Authenticator authenticates clients. It is safe for concurrent use.
type Authenticator struct {
	keys         atomic.Pointer[[]key]
	issuers      map[string]*issuer // by the claim iss
	defaultLimit *config.RateLimit  // for clients without their own; nil for no limit
	limiters     *rateLimiters
}

// New returns an Authenticator. It sends no requests to issuers.
func New(c Config) *Authenticator {
	a := &Authenticator{issuers: map[string]*issuer{}, defaultLimit: c.Clients.RateLimit, limiters: newRateLimiters(c.Now)}
	a.SetKeys(c.Clients.APIKeys)
	for n, o := range c.Clients.OIDC {
		a.issuers[o.Issuer] = newIssuer(o, fmt.Sprintf("clients.oidc[%d]", n), c)
	}
	return a
}

// Run fetches the issuers' keys immediately and then every few minutes, until ctx ends. Without Run
// they are fetched when a request needs them.
func (c *Authenticator) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, i := range c.issuers {
		running.Go(func() { i.keys.run(ctx) })
	}
	running.Wait()
}

// Credential is the credential of a request.
type Credential struct {
	Text   canonical.Secret // an API key or a token; "" if the request has none
	Bearer bool             // sent with the scheme Bearer, the only one that accepts tokens
}

// Client is an authenticated client. Two are the same client if and only if their IDs are equal.
type Client struct {
	ID     string   // the unit of isolation; never logged
	Name   string   // for the log; clients of two issuers may have the same name
	By     string   // how it was identified: api_key, or the claim of its token: azp, client_id or sub
	Issuer string   // the configuration path of its token's issuer, for example clients.oidc[0]; "" for an API key
	Scopes []string // config.ScopeAccounts, config.ScopeBalances
	limit  *config.RateLimit
}

// May reports whether the client has the scope. Every client has the scope "".
func (c Client) May(scope string) bool { return scope == "" || slices.Contains(c.Scopes, scope) }

// Authenticate returns the client of a credential. Its error is Unauthenticated for an invalid
// credential, Overloaded if the issuer's keys are not available, or ctx's error. It takes at most 2
// s.
func (c *Authenticator) Authenticate(ctx context.Context, credential Credential) (Client, error) {
	text := credential.Text.Reveal()
	if credential.Bearer {
		if payload, unverified, ok := parseUnverified(text); ok {
			if i, known := c.issuers[unverified.issuer]; known {
				return i.authenticate(ctx, text, payload, unverified)
			}
		}
	}
	if k, ok := matchKey(*c.keys.Load(), text); ok {
		return k.client, nil
	}
	return Client{}, canonical.NewError(canonical.Unauthenticated, "")
}

// AllowRate takes tokens of an authenticated client's rate limit for one request: all or none, and
// at most the limit's burst. Its error is RateLimited with the time until the tokens are there.
func (c *Authenticator) AllowRate(client Client, tokens int) error {
	limit := client.limit
	if limit == nil {
		limit = c.defaultLimit
	}
	if limit == nil {
		return nil
	}
	if wait := c.limiters.take(client.ID, *limit, tokens); wait > 0 {
		return &canonical.Error{Kind: canonical.RateLimited, Origin: canonical.OriginGateway, RetryAfter: wait}
	}
	return nil
}
