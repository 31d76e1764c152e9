package gateway_test

import (
	"context"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
)

// scripted is a provider that does what a test says.
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

// listing is a provider that has two accounts and no balances.
func listing() *scripted {
	return &scripted{
		accounts: func(context.Context, canonical.Query) ([]canonical.Account, error) {
			return []canonical.Account{{ID: "a", Type: "CACC"}, {ID: "b", Type: "CACC"}}, nil
		},
		balances: func(context.Context, canonical.Query, string) (canonical.AccountBalances, error) {
			return canonical.AccountBalances{}, nil
		},
	}
}

// refuse lets the provider answer every read with a failure.
func (s *scripted) refuse(failure canonical.Error) {
	s.accounts = func(context.Context, canonical.Query) ([]canonical.Account, error) { return nil, &failure }
	s.balances = func(context.Context, canonical.Query, string) (canonical.AccountBalances, error) {
		return canonical.AccountBalances{}, &failure
	}
}

// A rejected consent deletes the cached list; a rejected token, which a caller may have made up, returns its error and
// deletes nothing, and neither does any other failure.
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
				w := newWorld(t)
				bank := listing()
				g := w.gatewayOf(bank, w.gateway().Counter, w.gateway().Config.Cache)
				q := alone()
				mustList(t, g, attended(q), gateway.CacheControl{})
				bank.refuse(tt.failure)
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
