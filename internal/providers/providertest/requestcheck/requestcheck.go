// Package requestcheck checks the requests of an adapter for what no response shows: that telemetry
// knows the route, and that the counter knows the account. The contract suite uses it.
package requestcheck

import (
	"context"
	"slices"
	"testing"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
)

type accountKey struct{}

// WithAccount returns the context of a read whose requests must name the account; "" for the account
// list.
func WithAccount(ctx context.Context, account string) context.Context {
	return context.WithValue(ctx, accountKey{}, account)
}

// New returns a client that checks each request before the given client makes it. The test fails if
// the route is not one of routes, or the account is another one than that of WithAccount.
func New(t testing.TB, client providers.Client, routes []string) providers.Client {
	t.Helper()
	return &checker{client, t, routes}
}

type checker struct {
	providers.Client
	t      testing.TB
	routes []string
}

// Read implements providers.Client.
func (c *checker) Read(ctx context.Context, q canonical.Query, r providers.Request) (providers.Response, error) {
	if !slices.Contains(c.routes, r.Route) {
		c.t.Errorf("Request.Route %q is not in ClientConfig.Routes", r.Route)
	}
	if account, known := ctx.Value(accountKey{}).(string); known && r.Account != account {
		c.t.Errorf("Request.Account is %q, want %q", r.Account, account)
	}
	return c.Client.Read(ctx, q, r)
}
