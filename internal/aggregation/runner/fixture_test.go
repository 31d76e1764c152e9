package runner_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/aggregation/runner"
	"ais-gateway/internal/breaker"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/berlingroup"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
	"ais-gateway/internal/providers/obie"
	"ais-gateway/internal/providers/obie/obiesim"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/unattended"
)

const (
	client  = "payments"
	timeout = time.Minute // of every step: a slow machine must not look like a slow bank
	// threeAccounts is a consent with the accounts of the simulators' good consents.
	threeAccounts = "consent-a"
)

// The accounts of threeAccounts, at banks of each kind.
var (
	berlinGroupAccounts = []string{berlingroupsim.GoodAccount, "3dc3d5b3-7023-4848-9853-f5400a64e80f", "card-1"}
	obieAccounts        = []string{obiesim.GoodAccount, "31820", "41007"}
)

// A bank is an ASPSP and what the gateways know about it.
type bank struct {
	config.ASPSP
	provider string // berlingroup or obie
	sim      http.Handler
	// What one call can return, as configured. Banks of berlingroup return lists with balances, those of
	// obie all balances.
	bulk bool
}

// A fixture is some banks behind simulators, and a Redis.
type fixture struct {
	t         testing.TB
	callLog   *aspspsim.CallLog
	banks     []*bank
	server    *httptest.Server
	redisAddr string
	limits    limits
	adapter   func(providers.Provider) providers.Provider // wraps the adapters of processes that start later; nil for none

	mu         sync.Mutex
	intercept  http.HandlerFunc // called instead of the simulator; nil for none
	inProgress int              // calls
	most       int              // calls in progress
}

type limits struct{ waiting, perClient, perASPSP int }

// newFixture returns a fixture with n banks of berlingroup.
func newFixture(t testing.TB, n int) *fixture {
	t.Helper()
	f := &fixture{t: t, callLog: aspspsim.NewCallLog(time.Now), redisAddr: redistest.Shared(t)}
	f.server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.server.Close)
	t.Cleanup(func() {
		if breaches := f.callLog.Breaches(); len(breaches) > 0 {
			t.Errorf("%d calls beyond the limit of their bank", len(breaches))
		}
	})
	for range n {
		f.addBank("berlingroup", false)
	}
	return f
}

// addBank adds a bank. pageSize is that of its lists; 0 for one page.
func (f *fixture) addBank(provider string, bulk bool) *bank {
	b := &bank{ASPSP: config.ASPSPDefaults(), provider: provider, bulk: bulk}
	b.ID, b.Name, b.Provider = uuid.NewString(), "A bank", provider
	b.Breaker.ConsecutiveFailures, b.Breaker.MinimumCalls = 1000, 1000
	f.banks = append(f.banks, b)
	b.page(f, 0)
	return b
}

func (b *bank) page(f *fixture, size int) {
	if b.provider == "obie" {
		b.sim = obiesim.New(obiesim.Config{Log: f.callLog, Banks: []obiesim.Bank{{Path: "/" + b.ID, ASPSP: b.ID, Bulk: b.bulk, PageSize: size}}})
		return
	}
	answer := berlingroupsim.Ignored
	if b.bulk {
		answer = berlingroupsim.Honoured
	}
	b.sim = berlingroupsim.New(berlingroupsim.Config{Log: f.callLog, Banks: []berlingroupsim.Bank{{ASPSP: b.ID, Path: "/" + b.ID, WithBalance: answer, PageSize: size}}})
}

// setPolicy sets the policy of a bank, and of its simulator.
func (f *fixture) setPolicy(b *bank, limit int, unit config.Unit) {
	b.Unattended.Limit, b.Unattended.Unit = limit, unit
	f.callLog.SetPolicy(b.ID, aspspsim.Policy{Limit: limit, Window: b.Unattended.Window, Unit: aspspsim.Unit(unit)})
}

func (f *fixture) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.inProgress++
	f.most = max(f.most, f.inProgress)
	intercept := f.intercept
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.inProgress--
	}()
	if intercept != nil {
		intercept(w, r)
		return
	}
	f.pass(w, r)
}

// pass passes a request to the simulator of its bank.
func (f *fixture) pass(w http.ResponseWriter, r *http.Request) {
	for _, b := range f.banks {
		if strings.HasPrefix(r.URL.Path, "/"+b.ID+"/") {
			b.sim.ServeHTTP(w, r)
		}
	}
}

func (f *fixture) handle(h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.intercept = h
}

// hold makes each call that which reports wait until release is called. held gets the path
// of each of them.
func (f *fixture) hold(which func(*http.Request) bool) (held <-chan string, release func()) {
	arrived, open := make(chan string, 1000), make(chan struct{})
	f.handle(func(w http.ResponseWriter, r *http.Request) {
		if which(r) {
			arrived <- r.URL.Path
			<-open
		}
		f.pass(w, r)
	})
	release = sync.OnceFunc(func() { close(open) })
	f.t.Cleanup(release)
	return arrived, release
}

func (f *fixture) mostInProgress() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.most
}

// calls returns the accounts of the calls that reached a bank, in order; "" for the list.
func (f *fixture) calls(b *bank, attended bool) []string {
	accounts := []string{}
	for _, c := range f.callLog.Calls() {
		if c.ASPSP == b.ID && c.Attended == attended {
			accounts = append(accounts, c.Account)
		}
	}
	return accounts
}

// used returns how many slots of a unit are used.
func (f *fixture) used(call unattended.Call) int {
	f.t.Helper()
	usage, err := f.counter().Usage(f.t.Context(), call)
	if err != nil {
		f.t.Fatal(err)
	}
	return usage.Used
}

func (f *fixture) counter() *unattended.Counter {
	policies := map[string]config.Unattended{}
	for _, b := range f.banks {
		policies[b.ID] = b.Unattended
	}
	return unattended.New(redistest.OpenAt(f.t, f.redisAddr).Counter, policies).Within(timeout)
}

// A process is a gateway as one process has it.
type process struct {
	*gateway.Gateway
	*runner.Runner
	f     *fixture
	lists *cache.Cache
}

func (f *fixture) process() *process {
	f.t.Helper()
	return f.processWith(redistest.OpenAt(f.t, f.redisAddr).Cache, make([]byte, 32))
}

// processWith returns a process with another client or key of the cache.
func (f *fixture) processWith(rdb redis.UniversalClient, key []byte) *process {
	f.t.Helper()
	lists, err := cache.New(rdb, [][]byte{key})
	if err != nil {
		f.t.Fatal(err)
	}
	counter := f.counter()
	c := gateway.Config{
		Cache: lists, Counter: counter, RedisBudget: timeout, Slack: timeout, Now: time.Now, Logger: slog.New(slog.DiscardHandler), Observer: unobserved{},
		MaxWaiting: f.limits.waiting, MaxPerClient: f.limits.perClient, MaxCallsPerASPSP: f.limits.perASPSP,
	}
	adapters := map[string]providers.Provider{}
	for _, name := range []string{"berlingroup", "obie"} {
		adapters[name] = f.open(name, counter)
	}
	for _, b := range f.banks {
		c.ASPSPs = append(c.ASPSPs, gateway.ASPSP{ASPSP: b.ASPSP, Adapter: adapters[b.provider], Timeout: timeout})
	}
	g := gateway.New(c)
	return &process{g, runner.New(runner.Config{
		Gateway: g, Logger: slog.New(slog.DiscardHandler), Observer: unobserved{},
	}), f, lists}
}

// open returns the adapter of a provider.
func (f *fixture) open(name string, counter *unattended.Counter) providers.Provider {
	f.t.Helper()
	base, err := url.Parse(f.server.URL)
	if err != nil {
		f.t.Fatal(err)
	}
	env := providers.Env{BaseURL: base, Client: upstream.New(upstream.Config{Provider: name, Timeout: timeout, Counter: counter}).Client}
	for i, b := range f.banks {
		if b.provider != name {
			continue
		}
		env.ASPSPs = append(env.ASPSPs, providers.ASPSP{ID: b.ID, Path: "aspsps[" + strconv.Itoa(i) + "].options", Options: func(into any) error {
			switch o := into.(type) {
			case *berlingroup.Options:
				*o = berlingroup.Options{BaseURL: f.server.URL + "/" + b.ID, WithBalance: b.bulk}
			case *obie.Options:
				*o = obie.Options{BaseURL: f.server.URL + "/" + b.ID, AllBalances: b.bulk}
			}
			return nil
		}})
	}
	open := berlingroup.Open
	if name == "obie" {
		open = obie.Open
	}
	opened, err := open(func(any) error { return nil }, env)
	if err != nil {
		f.t.Fatal(err)
	}
	if f.adapter != nil {
		return f.adapter(opened)
	}
	return opened
}

type unobserved struct{}

func (unobserved) Breaker(string, breaker.State) {}

func (unobserved) Refused(context.Context, string, bulkhead.Refusal) {}

func (unobserved) Source(ctx context.Context, _, _ string, _ bool) (context.Context, func(aggregation.SourceResult, aggregation.Slots)) {
	return ctx, func(aggregation.SourceResult, aggregation.Slots) {}
}

// request returns an aggregation with balances.
func request(sources ...aggregation.Source) aggregation.Request {
	return aggregation.Request{Client: client, RequestID: uuid.NewString(), Sources: sources, Balances: true, Wait: timeout}
}

// source returns an unattended source.
func (b *bank) source(consent string, accounts ...string) aggregation.Source {
	return aggregation.Source{Ref: consent, Query: b.query(consent), AccountIDs: accounts}
}

// query returns an unattended query.
func (b *bank) query(consent string) canonical.Query {
	q := canonical.Query{ASPSP: b.ID, Consent: consent, Token: berlingroupsim.GoodToken, RequestID: uuid.NewString()}
	if b.provider == "obie" {
		q.Token = canonical.Secret(obiesim.Token(consent))
	}
	return q
}

func attended(s aggregation.Source) aggregation.Source {
	s.Query = withUser(s.Query)
	return s
}

func withUser(q canonical.Query) canonical.Query {
	q.PSU = &canonical.PSU{IP: netip.MustParseAddr("203.0.113.7")}
	return q
}

// aggregate runs an aggregation until all sources are ready.
func (p *process) aggregate(r aggregation.Request) []aggregation.SourceResult {
	p.f.t.Helper()
	return p.within(p.f.t.Context(), r)
}

// within runs an aggregation until over ends.
func (p *process) within(over context.Context, r aggregation.Request) []aggregation.SourceResult {
	p.f.t.Helper()
	ready := 0
	result, err := p.Run(p.f.t.Context(), r, runner.Options{Over: over}, func(aggregation.SourceResult) { ready++ })
	if err != nil {
		p.f.t.Fatal(err)
	}
	if ready != len(r.Sources) || len(result.Sources) != len(r.Sources) {
		p.f.t.Fatalf("%d of %d sources were ready", ready, len(r.Sources))
	}
	return result.Sources
}

// one runs an aggregation of one source.
func (p *process) one(r aggregation.Request) aggregation.SourceResult {
	p.f.t.Helper()
	return p.aggregate(r)[0]
}

// cacheList makes the client's list of a source cached and fresh, with a call that takes no slot.
func (p *process) cacheList(client string, s aggregation.Source) {
	p.f.t.Helper()
	if _, err := p.Accounts(p.f.t.Context(), client, withUser(s.Query), gateway.CacheControl{NoCache: true}); err != nil {
		p.f.t.Fatal(err)
	}
}

// use makes n unattended calls for the balances of an account that no test counts.
func (p *process) use(s aggregation.Source, account string, n int) {
	p.f.t.Helper()
	for range n {
		if _, err := p.Balances(p.f.t.Context(), client, s.Query, account); err != nil {
			p.f.t.Fatal(err)
		}
	}
}

func listOf(s aggregation.Source) unattended.Call {
	return unattended.Call{ASPSP: s.Query.ASPSP, Consent: s.Query.Consent}
}

func balancesOf(s aggregation.Source, account string) unattended.Call {
	c := listOf(s)
	c.Account = account
	return c
}

// withBalances returns the accounts of a result that have balances, in order.
func withBalances(s aggregation.SourceResult) []string {
	ids := []string{}
	for _, a := range s.Accounts {
		if a.Balances != nil {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

// check fails the test unless the outcome, the slots spent, and the kinds of all failures are as
// wanted.
func check(t *testing.T, s aggregation.SourceResult, outcome aggregation.Outcome, spent int, failures ...canonical.Kind) {
	t.Helper()
	got := kinds(s)
	if s.Outcome != outcome || s.Cost.Spent != spent || !slices.Equal(got, failures) {
		t.Errorf("outcome %s, %d slots spent, failures %v; want %s, %d, %v", s.Outcome, s.Cost.Spent, got, outcome, spent, failures)
	}
}

// kinds returns the kinds of the failures of a source and of its accounts; nil if there is none.
func kinds(s aggregation.SourceResult) []canonical.Kind {
	var all []canonical.Kind
	if s.Failure != nil {
		all = append(all, s.Failure.Kind)
	}
	for _, a := range s.Accounts {
		if a.Failure != nil {
			all = append(all, a.Failure.Kind)
		}
	}
	for _, m := range s.Missing {
		all = append(all, m.Failure.Kind)
	}
	return all
}

// times returns n times the kind.
func times(n int, k canonical.Kind) []canonical.Kind { return slices.Repeat([]canonical.Kind{k}, n) }

// cost returns the range of a cost; -1 if the maximum is unknown.
func cost(s aggregation.SourceResult) [2]int {
	if s.Cost.Max == nil {
		return [2]int{s.Cost.Min, -1}
	}
	return [2]int{s.Cost.Min, *s.Cost.Max}
}

func ptr[T any](v T) *T { return &v }
