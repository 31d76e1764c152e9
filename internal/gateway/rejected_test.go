package gateway_test

import (
	"context"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
)

// scripted is a provider whose methods are set by the test.
type scripted struct {
	accounts func(ctx context.Context, q canonical.Query) ([]canonical.Account, error)
	balances func(ctx context.Context, q canonical.Query, account string) (canonical.AccountBalances, error)
}

func (s *scripted) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	return s.accounts(ctx, q)
}

func (s *scripted) Balances(ctx context.Context, q canonical.Query, account string) (canonical.AccountBalances, error) {
	return s.balances(ctx, q, account)
}

// twoAccounts returns a provider with two accounts and no balances.
func twoAccounts() *scripted {
	return &scripted{
		accounts: func(context.Context, canonical.Query) ([]canonical.Account, error) {
			return []canonical.Account{{ID: "a", Type: "CACC"}, {ID: "b", Type: "CACC"}}, nil
		},
		balances: func(context.Context, canonical.Query, string) (canonical.AccountBalances, error) {
			return canonical.AccountBalances{}, nil
		},
	}
}

// failWith makes every read return failure.
func (s *scripted) failWith(failure canonical.Error) {
	s.accounts = func(context.Context, canonical.Query) ([]canonical.Account, error) { return nil, &failure }
	s.balances = func(context.Context, canonical.Query, string) (canonical.AccountBalances, error) {
		return canonical.AccountBalances{}, &failure
	}
}

// TestRejectedTokenDeletesNothing: only a rejected consent deletes the cached list. A rejected
// token returns its error and deletes nothing, because a caller could have invented the token.
func TestRejectedTokenDeletesNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		failure canonical.Error
		deletes bool
	}{
		{"consent invalid", canonical.Error{Kind: canonical.ConsentInvalid, Origin: canonical.OriginASPSP}, true},
		{"consent expired", canonical.Error{Kind: canonical.ConsentExpired, Origin: canonical.OriginASPSP}, true},
		{"token invalid", canonical.Error{Kind: canonical.ConsentInvalid, Origin: canonical.OriginASPSP, TokenRejected: true}, false},
		{"token expired", canonical.Error{Kind: canonical.ConsentExpired, Origin: canonical.OriginASPSP, TokenRejected: true}, false},
		{"account unknown", canonical.Error{Kind: canonical.AccountUnknown, Origin: canonical.OriginASPSP}, false},
		{"gateway rejected", canonical.Error{Kind: canonical.ProviderRejected, Origin: canonical.OriginProvider}, false},
	} {
		for how, read := range map[string]func(g *gateway.Gateway, q canonical.Query) error{
			"attended list": func(g *gateway.Gateway, q canonical.Query) error {
				_, err := g.Accounts(t.Context(), client, attended(q), gateway.CacheControl{MaxAge: new(time.Duration)})
				return err
			},
			"list": func(g *gateway.Gateway, q canonical.Query) error {
				_, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{MaxAge: new(time.Duration)})
				return err
			},
			"attended balances": func(g *gateway.Gateway, q canonical.Query) error {
				_, err := g.Balances(t.Context(), client, attended(q), "a")
				return err
			},
			"balances": func(g *gateway.Gateway, q canonical.Query) error {
				_, err := g.Balances(t.Context(), client, q, "a")
				return err
			},
		} {
			t.Run(tt.name+", "+how, func(t *testing.T) {
				w := newFixture(t)
				provider := twoAccounts()
				g := w.gatewayOf(provider, w.gateway().Counter, w.gateway().Config.Cache)
				q := newQuery()
				mustList(t, g, attended(q), gateway.CacheControl{})
				provider.failWith(tt.failure)
				q.Token = "another"
				if err := read(g, q); kind(err) != tt.failure.Kind {
					t.Fatalf("got %v", err)
				}
				_, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true})
				if deleted := kind(err) == canonical.NotCached; deleted != tt.deletes || err != nil && !deleted {
					t.Errorf("afterwards: %v", err)
				}
			})
		}
	}
}
