// Package gateway answers queries: it knows how fresh an answer must be, makes one call for many equal requests,
// and answers what is kept when no call can be made. internal/api calls it; it calls the providers.
package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"ais-gateway/internal/breaker"
	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/unattended"
)

// A Bank is one configured ASPSP and how it is read.
type Bank struct {
	config.ASPSP
	Reader  providers.Provider
	Timeout time.Duration // of one upstream read, as its provider has it
}

// Config is what a gateway is made of.
type Config struct {
	Banks     []Bank
	Cache     *cache.Cache
	Counter   *unattended.Counter
	Allowance time.Duration // RedisAllowance
	Now       func() time.Time
	Logger    *slog.Logger
	Observer  Observer
}

// An Observer is told what becomes of requests, never of their content.
type Observer interface {
	Cache(ctx context.Context, aspsp string, r CacheResult)
	Breaker(aspsp string, s breaker.State)
}

// CacheResult is what the cache had to do with an answer.
type CacheResult string

// What the cache may have to do with an answer.
const (
	CacheHit       CacheResult = "hit"       // answered, fresh
	CacheStale     CacheResult = "stale"     // answered, because no call could be made
	CacheMiss      CacheResult = "miss"      // nothing fresh was kept
	CacheBypass    CacheResult = "bypass"    // the caller demanded a call
	CacheCollapsed CacheResult = "collapsed" // another request's call was shared
	CacheError     CacheResult = "error"     // Redis did not answer in time
)

// A Gateway answers queries. It is safe for concurrent use.
type Gateway struct {
	Config
	banks   map[string]*bank
	flights singleflight.Group
	running sync.WaitGroup
}

type bank struct {
	Bank
	checker providers.Checker // nil where the provider demands nothing more
	breaker *breaker.Breaker
}

// New makes a gateway. Every member of the configuration is needed.
func New(c Config) *Gateway {
	g := &Gateway{Config: c, banks: map[string]*bank{}}
	for _, b := range c.Banks {
		checker, _ := b.Reader.(providers.Checker)
		changed := func(s breaker.State) { c.Observer.Breaker(b.ID, s) }
		g.banks[b.ID] = &bank{Bank: b, checker: checker, breaker: breaker.New(b.ASPSP.Breaker, c.Now, changed)}
	}
	return g
}

// ASPSPs are the configured ASPSPs, in the order of the configuration.
func (g *Gateway) ASPSPs() []ASPSP {
	all := make([]ASPSP, len(g.Banks))
	for i, b := range g.Banks {
		all[i], _ = g.ASPSP(b.ID)
	}
	return all
}

// ASPSP is one configured ASPSP, by its id in lower case.
func (g *Gateway) ASPSP(id string) (ASPSP, bool) {
	b, ok := g.banks[id]
	if !ok {
		return ASPSP{}, false
	}
	return ASPSP{ID: b.ID, Name: b.Name, Provider: b.Provider, Unattended: b.Unattended, Breaker: b.breaker.State()}, true
}

// Check names what the query's provider would miss in it, beyond what every provider needs.
func (g *Gateway) Check(q canonical.Query) []canonical.Fault {
	if b, ok := g.banks[q.ASPSP]; ok && b.checker != nil {
		return b.checker.Check(q)
	}
	return nil
}

// Balances answers all balances of one account, always from the provider. Equal unattended requests at once
// share one call.
func (g *Gateway) Balances(ctx context.Context, client string, q canonical.Query, account string) (BalanceSheet, error) {
	b, ok := g.banks[q.ASPSP]
	if !ok {
		return BalanceSheet{}, unknown()
	}
	read := func(ctx context.Context) (BalanceSheet, *canonical.Error) {
		return g.readBalances(ctx, b, client, q, account)
	}
	if q.Attended() {
		sheet, failure := read(ctx)
		return sheet, asError(failure)
	}
	sheet, failure, _ := fly(ctx, g, b, flightName("balances", client, q, account), read)
	sheet.Limit = g.limit(ctx, g.allowance(), q, account, failure)
	return sheet, asError(failure)
}

func (g *Gateway) readBalances(ctx context.Context, b *bank, client string, q canonical.Query, account string) (BalanceSheet, *canonical.Error) {
	var sheet BalanceSheet
	failure := g.guard(ctx, b, func() (err error) {
		sheet.AccountBalances, err = b.Reader.Balances(ctx, q, account)
		return err
	})
	if failure != nil {
		if definiteNo(failure.Kind) {
			redis := g.allowance()
			g.forgetSurely(ctx, &redis, keyOf(client, q))
		}
		return BalanceSheet{}, failure
	}
	sheet.Freshness = Freshness{Source: FromProvider, FetchedAt: g.Now()}
	return sheet, nil
}

// UnattendedAccess reads where the unit of counting stands to which the query's unattended calls belong:
// account's balances, or the account list for "". It costs nothing.
func (g *Gateway) UnattendedAccess(ctx context.Context, q canonical.Query, account string) (unattended.State, error) {
	if _, ok := g.banks[q.ASPSP]; !ok {
		return unattended.State{}, unknown()
	}
	return g.Counter.State(ctx, unattended.Call{ASPSP: q.ASPSP, Consent: q.Consent, Account: account})
}

// Forget forgets what is cached for the client under the query's consent. It gives no unattended calls back.
func (g *Gateway) Forget(ctx context.Context, client string, q canonical.Query) error {
	if _, ok := g.banks[q.ASPSP]; !ok {
		return unknown()
	}
	ctx, cancel := context.WithTimeout(ctx, forgetTimeout)
	defer cancel()
	if g.Config.Cache.Forget(ctx, keyOf(client, q)) != nil {
		return &canonical.Error{
			Kind: canonical.Overloaded, Origin: canonical.OriginGateway, RetryAfter: time.Second,
			Detail: "the cache cannot be reached: what is kept may still be there",
		}
	}
	return nil
}

// Drain waits until every call that is under way has ended, whoever asked for it, or ctx has.
func (g *Gateway) Drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() { g.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// guard makes one read under the bank's breaker. A fault of ours in an adapter becomes InternalError here, so
// that one answer which nobody foresaw does not end the program.
func (g *Gateway) guard(ctx context.Context, b *bank, read func() error) *canonical.Error {
	err := b.breaker.Do(func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				g.Logger.ErrorContext(ctx, "adapter panicked", "provider", b.Provider, "type", fmt.Sprintf("%T", r), "stack", string(debug.Stack()))
				err = canonical.Fail(canonical.InternalError, "")
			}
		}()
		return read()
	})
	var failure *canonical.Error
	if err != nil && !errors.As(err, &failure) {
		return canonical.Fail(canonical.InternalError, "")
	}
	return failure
}

// limit reads where the unit stands after an answer, for the caller to be told. nil where it cannot be read in time.
func (g *Gateway) limit(ctx context.Context, redis allowance, q canonical.Query, account string, failure *canonical.Error) *unattended.State {
	if failure != nil && failure.Kind == canonical.CounterUnavailable {
		return nil
	}
	var state *unattended.State
	_ = redis.spend(context.WithoutCancel(ctx), func(ctx context.Context) error {
		s, err := g.UnattendedAccess(ctx, q, account)
		if err == nil {
			state = &s
		}
		return err
	})
	return state
}

// flown is what a flight brings back.
type flown[T any] struct {
	value   T
	failure *canonical.Error
}

// fly lets one call serve every caller that asks under the same name at the same time. The call does not end
// with its callers: what was counted is also finished. The last result is true for the caller whose call it is.
func fly[T any](ctx context.Context, g *Gateway, b *bank, name string, call func(context.Context) (T, *canonical.Error)) (T, *canonical.Error, bool) {
	var none T
	if ctx.Err() != nil {
		return none, canonical.Fail(canonical.Canceled, ""), false
	}
	g.running.Add(1)
	var led bool
	landed := g.flights.DoChan(name, func() (any, error) {
		led = true
		// Another gateway's call may be waited for before one of our own is made.
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*b.Timeout+leaseMargin)
		defer cancel()
		value, failure := call(own)
		return flown[T]{value, failure}, nil
	})
	select {
	case r := <-landed:
		g.running.Done()
		f := r.Val.(flown[T])
		return f.value, f.failure, led
	case <-ctx.Done():
		go func() {
			defer g.running.Done()
			<-landed
		}()
		return none, canonical.Fail(canonical.Canceled, ""), false
	}
}

// flightName is equal for requests that may share one call: same client, ASPSP, consent and user's token, both
// attended or both not.
func flightName(what, client string, q canonical.Query, more string) string {
	return fmt.Sprintf("%s %q %q %q %s %t %q", what, client, q.ASPSP, canonical.FoldID(q.Consent), tokenHash(q), q.Attended(), more)
}

// tokenHash stands for the user's token where the token itself may not.
func tokenHash(q canonical.Query) string {
	hash := sha256.Sum256([]byte(q.Token.Reveal()))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

func keyOf(client string, q canonical.Query) cache.Key {
	return cache.Key{Client: client, ASPSP: q.ASPSP, Consent: canonical.FoldID(q.Consent)}
}

func unknown() *canonical.Error {
	return canonical.Fail(canonical.ASPSPUnknown, "")
}

// asError keeps a nil failure a nil error.
func asError(failure *canonical.Error) error {
	if failure == nil {
		return nil
	}
	return failure
}
