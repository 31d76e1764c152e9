// Package auth knows who may call the gateway: clients with an API key, and clients with a token (JWT) of an
// OpenID Connect issuer; and how often each of them may. internal/api asks it about every request; cmd makes it,
// lets it read the issuers' keys, and gives it new API keys.
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

// Config is what Callers are made of. The configuration must have been checked.
type Config struct {
	Clients config.Clients
	Now     func() time.Time
	Logger  *slog.Logger // is told when an issuer's keys can no longer be read, and when they can again
	// Pseudonym is a keyed hash of an issuer, a claim and its value: the log's name for clients that could be people. Without
	// it they have none.
	Pseudonym func(parts ...string) string
}

// Callers are all who may call. Their methods are safe for concurrent use.
type Authenticator struct {
	keys    atomic.Pointer[[]key]
	issuers map[string]*issuer // by their name in tokens
	limit   *config.RateLimit  // of each client that has none of its own; nil for none
	buckets *buckets
}

// New makes the callers, and asks no issuer for anything yet.
func New(c Config) *Authenticator {
	all := &Authenticator{issuers: map[string]*issuer{}, limit: c.Clients.RateLimit, buckets: newBuckets(c.Now)}
	all.SetKeys(c.Clients.APIKeys)
	for n, o := range c.Clients.OIDC {
		place := fmt.Sprintf("clients.oidc[%d]", n)
		all.issuers[o.Issuer] = newIssuer(o, place, c)
	}
	return all
}

// Run reads the issuers' keys at once, and again every few minutes, until ctx ends. Without it they are read when a
// request needs them.
func (c *Authenticator) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, i := range c.issuers {
		running.Go(func() { i.keys.run(ctx) })
	}
	running.Wait()
}

// A Credential is what a request shows to say who calls.
type Credential struct {
	Text   canonical.Secret // an API key or a token; "" for none
	Bearer bool             // of the scheme Bearer, where alone a token may stand
}

// A Client is who calls. Two are the same if and only if their IDs are.
type Client struct {
	ID     string   // for whatever must be kept apart; never told
	Name   string   // for the log; clients of two issuers may share one
	By     string   // how it was identified: api_key, or the claim of its token: azp, client_id or sub
	Issuer string   // the place of its token's issuer in the configuration, as in clients.oidc[0]; "" for an API key
	Scopes []string // config.ScopeAccounts, config.ScopeBalances
	limit  *config.RateLimit
}

// May reports whether the client has the scope; "" is everybody's.
func (c Client) May(scope string) bool { return scope == "" || slices.Contains(c.Scopes, scope) }

// Authenticate says whose credential it is. Its errors are Unauthenticated where it is nobody's, Overloaded where
// that cannot be found out now, and ctx's own. It takes 2 s at most.
func (c *Authenticator) Authenticate(ctx context.Context, shown Credential) (Client, error) {
	text := shown.Text.Reveal()
	if shown.Bearer {
		if payload, said, ok := peek(text); ok {
			if i, known := c.issuers[said.issuer]; known {
				return i.authenticate(ctx, text, payload, said)
			}
		}
	}
	if k, ok := match(*c.keys.Load(), text); ok {
		return k.client, nil
	}
	return Client{}, canonical.NewError(canonical.Unauthenticated, "")
}

// Admit counts a request of an authenticated client. Its error is RateLimited, with when to try again.
func (c *Authenticator) AllowRate(client Client) error {
	limit := client.limit
	if limit == nil {
		limit = c.limit
	}
	if limit == nil {
		return nil
	}
	if wait := c.buckets.take(client.ID, *limit); wait > 0 {
		return &canonical.Error{Kind: canonical.RateLimited, Origin: canonical.OriginGateway, RetryAfter: wait}
	}
	return nil
}
