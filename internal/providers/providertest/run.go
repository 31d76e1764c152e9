package providertest

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/providertest/faultproxy"
	"ais-gateway/internal/providers/providertest/requestcheck"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/unattended"
)

// timeout is the timeout of one read, long enough for a busy machine; shortTimeout is for reads
// that time out.
const (
	timeout      = 30 * time.Second
	shortTimeout = 1500 * time.Millisecond
)

// Run tests an adapter against the contract of providers.Provider: over real HTTP, with the
// gateway's transport and counter, and with a real Redis.
func Run(t *testing.T, s Harness) {
	checkComplete(t, s)
	for name, test := range map[string]func(*testing.T, Harness){
		"accounts":                    testAccounts,
		"balances":                    testBalances,
		"capabilities":                testCapabilities,
		"signs and types":             testExample,
		"all pages":                   testPages,
		"counting":                    testCounting,
		"fifth unattended call":       testLimit,
		"refusals":                    testRefusals,
		"unreadable refusals":         testUnreadableRefusals,
		"compressed refusals":         testCompressedRefusals,
		"limit reported by the ASPSP": testBlock,
		"hostile account ids":         testHostileAccounts,
		"mutated answers":             testMutations,
		"broken answers":              testBrokenAnswers,
		"tolerated responses":         testCareless,
		"harmless parts":              testHarmlessParts,
		"slow answers":                testSlow,
		"lost connection":             testLost,
		"unreachable":                 testUnreachable,
		"concurrent reads":            testConcurrency,
		"request id is unchanged":     testRequestID,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

// checkComplete fails the test if the Harness is incomplete.
func checkComplete(t *testing.T, s Harness) {
	t.Helper()
	if s.Open == nil || s.Settings == nil || s.Options == nil || s.Simulator == nil || s.Query.Consent == "" || s.Query.Attended() ||
		s.Token == nil || s.Token(s.Query.Consent) != s.Query.Token || s.Account == "" || s.ManyAccounts == "" || s.ManyCount < 60 ||
		s.Example.Body == "" || len(s.Example.Want) == 0 {
		t.Fatal("the harness has empty fields")
	}
	for _, id := range []string{"../../admin", "a%2Fb", "a/b", "a+b/c", "%", "?x=1#y", "ключ:1"} {
		if !slices.Contains(s.HostileAccounts, id) {
			t.Errorf("hostile account %q is missing", id)
		}
	}
	for _, k := range []canonical.Kind{
		canonical.ConsentExpired, canonical.ConsentInvalid, canonical.AccountUnknown, canonical.UnattendedLimit,
		canonical.ProviderRejected, canonical.ProviderThrottled, canonical.ProviderError, canonical.ProviderUnavailable,
		canonical.ProviderTimeout,
	} {
		if s.Refusals[k] == "" {
			t.Errorf("refusal %s is missing", k)
		}
	}
	for _, name := range RequiredMutations {
		if s.AccountsMutations[name] == nil && name != "missing id or amount" || s.BalancesMutations[name] == nil {
			t.Errorf("mutation %q is missing", name)
		}
	}
	for _, name := range RequiredBalances {
		if s.BalancesMutations[name] == nil {
			t.Errorf("balances mutation %q is missing", name)
		}
	}
}

// environment is an adapter connected to its simulator, through a proxy that can change responses.
type environment struct {
	providers.Provider
	log     *aspspsim.CallLog
	counter *unattended.Counter
	proxy   *faultproxy.Proxy
	harness Harness
	timeout time.Duration // of one read
}

func newEnvironment(t *testing.T, s Harness) *environment {
	t.Helper()
	return newEnvironmentWithTimeout(t, s, timeout)
}

func newEnvironmentWithTimeout(t *testing.T, s Harness, timeout time.Duration) *environment {
	t.Helper()
	r := &environment{log: aspspsim.NewCallLog(time.Now), harness: s, timeout: timeout}
	r.proxy = &faultproxy.Proxy{Next: s.Simulator(r.log)}
	server := httptest.NewServer(r.proxy)
	t.Cleanup(server.Close)
	r.open(t, server.URL)
	return r
}

func (r *environment) open(t *testing.T, base string) {
	t.Helper()
	st := redistest.OpenAt(t, redistest.Start(t).Addr)
	r.counter = unattended.New(st.Counter, map[string]config.Unattended{
		r.harness.Query.ASPSP: {Limit: 4, Window: 24 * time.Hour, Unit: config.UnitConsent},
	}).Within(redistest.CommandTimeout)
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	transport := upstream.New(upstream.Config{Provider: "test", Timeout: r.timeout, Counter: r.counter})
	r.Provider, err = r.harness.Open(r.harness.Settings, providers.Env{
		BaseURL: u, Client: func(c providers.ClientConfig) providers.Client {
			return requestcheck.New(t, transport.Client(c), c.Routes)
		},
		ASPSPs: []providers.ASPSP{{ID: r.harness.Query.ASPSP, Path: "aspsps[0].options", Options: r.harness.Options}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Accounts calls the adapter's Accounts.
func (r *environment) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	return r.Provider.Accounts(requestcheck.WithAccount(ctx, ""), q)
}

// Balances calls the adapter's Balances.
func (r *environment) Balances(ctx context.Context, q canonical.Query, account string) (canonical.AccountBalances, error) {
	return r.Provider.Balances(requestcheck.WithAccount(ctx, account), q, account)
}

// unattended returns the harness's query with a new request id.
func (r *environment) unattended() canonical.Query {
	q := r.harness.Query
	q.RequestID = uuid.NewString()
	return q
}

func (r *environment) attended() canonical.Query {
	q := r.unattended()
	q.PSU = &canonical.PSU{IP: netip.MustParseAddr("203.0.113.7"), Port: 4711, UserAgent: "Browser/1"}
	return q
}

// attendedBy returns an attended query of a consent, with the consent's token.
func (r *environment) attendedBy(consent string) canonical.Query {
	q := r.attended()
	q.Consent, q.Token = consent, r.harness.Token(consent)
	return q
}

func (r *environment) used(t *testing.T, q canonical.Query) int {
	t.Helper()
	s, err := r.counter.Usage(t.Context(), unattended.Call{ASPSP: q.ASPSP, Consent: q.Consent})
	if err != nil {
		t.Fatal(err)
	}
	return s.Used
}

// forEachRead runs a test for each read of the adapter: the account list, balances, and the reads of
// the capabilities that the harness's ASPSP has. size is the number of accounts or balances.
func forEachRead(t *testing.T, r *environment, test func(t *testing.T, read func(canonical.Query) (size int, err error))) {
	t.Helper()
	run := func(name string, read func(canonical.Query) (int, error)) {
		t.Helper()
		t.Run(name, func(t *testing.T) { test(t, read) })
	}
	run("accounts", func(q canonical.Query) (int, error) {
		all, err := r.Accounts(t.Context(), q)
		return len(all), err
	})
	run("balances", func(q canonical.Query) (int, error) {
		b, err := r.Balances(t.Context(), q, r.harness.Account)
		if err != nil && (b.Identification != canonical.Identification{} || b.Name != "") {
			t.Error("a failure comes with a part of the answer")
		}
		return len(b.Balances), err
	})
	can := providers.CapabilitiesOf(r.Provider, r.harness.Query.ASPSP)
	if can.ListWithBalances {
		run("accounts with balances", func(q canonical.Query) (int, error) {
			all, err := r.Provider.(providers.ListerWithBalances).AccountsWithBalances(t.Context(), q)
			return len(all), err
		})
	}
	if can.AllBalances {
		run("all balances", func(q canonical.Query) (int, error) {
			all, err := r.Provider.(providers.AllBalancesReader).AllBalances(t.Context(), q)
			return len(all), err
		})
	}
}

// checkFailure checks that a read returned an error of the kind and no data, and that the error
// contains no secret of the query.
func checkFailure(t *testing.T, want canonical.Kind, q canonical.Query, size int, err error) *canonical.Error {
	t.Helper()
	var failure *canonical.Error
	if !errors.As(err, &failure) || failure.Kind != want {
		t.Errorf("got %v, want %s", err, want)
		return &canonical.Error{}
	}
	if size != 0 {
		t.Errorf("%s comes with %d records", want, size)
	}
	for _, secret := range []string{q.Consent, q.Token.Reveal()} {
		if secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("the error contains a secret of the query: %v", err)
		}
	}
	return failure
}
