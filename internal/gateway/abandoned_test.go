package gateway_test

import (
	"context"
	"testing"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/mypos/mypossim"
)

// TestAbandonedCallsCountForTheirClient: a call counts for its client until it ends, so canceled
// requests give the client no more calls in progress, and do not use up those of another client.
func TestAbandonedCallsCountForTheirClient(t *testing.T) {
	t.Parallel()
	const most, requests = 5, 30
	for name, read := range map[string]func(ctx context.Context, g *gateway.Gateway, client string) error{
		"list": func(ctx context.Context, g *gateway.Gateway, client string) error {
			_, err := g.Accounts(ctx, client, newQuery(), gateway.CacheControl{})
			return err
		},
		"attended list": func(ctx context.Context, g *gateway.Gateway, client string) error {
			_, err := g.Accounts(ctx, client, attended(newQuery()), gateway.CacheControl{})
			return err
		},
		"balances": func(ctx context.Context, g *gateway.Gateway, client string) error {
			_, err := g.Balances(ctx, client, newQuery(), mypossim.GoodAccount)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.maxPerClient, w.timeout = most, longTimeout
			g := w.gateway()
			arrived, open := w.interceptor.hold()
			calls := 0
			for range requests {
				ctx, leave := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- read(ctx, g, client) }()
				select {
				case <-arrived:
					calls++
					leave()
					if err := <-ended; kind(err) != canonical.Canceled {
						t.Errorf("the canceled request: %v", err)
					}
				case err := <-ended:
					leave()
					if kind(err) != canonical.Overloaded {
						t.Errorf("got %v", err)
					}
				}
			}
			if calls == 0 || calls > most {
				t.Errorf("%d calls of one client are in progress, want at most %d", calls, most)
			}
			other := make(chan error, 1)
			go func() { other <- read(t.Context(), g, "another client") }()
			<-arrived
			open()
			if err := <-other; err != nil {
				t.Errorf("another client: %v", err)
			}
			if err := g.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := read(t.Context(), g, client); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}
