package gateway_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// network is a proxy to an address that can inject network faults.
type network struct {
	*toxiproxy.Proxy
	t *testing.T
}

// newNetwork starts a proxy to an address.
func newNetwork(t *testing.T, name, address string) *network {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled) // parts of toxiproxy use the global logger
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(server, name, "127.0.0.1:0", address)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return &network{p, t}
}

// toxic is a network fault, as toxiproxy defines it: type, stream, attributes, and for which share
// of the connections. 1 is all of them. 0 is none, but a reset_peer toxic then still applies when a
// connection closes.
type toxic struct {
	kind, stream, attributes string
	toxicity                 int
}

// inject adds faults to all connections from now on, until remove is called.
func (n *network) inject(all ...toxic) (remove func()) {
	n.t.Helper()
	for _, x := range all {
		text := fmt.Sprintf(`{"type": %q, "stream": %q, "attributes": {%s}, "toxicity": %d}`, x.kind, x.stream, x.attributes, x.toxicity)
		if _, err := n.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
			n.t.Fatal(err)
		}
	}
	return func() { n.Toxics.ResetToxics(n.t.Context()) }
}

// Directions: down is from the provider or Redis, up is to it.
const up, down = "upstream", "downstream"

// These return faults: latency with or without jitter, a reset, a bandwidth of 1 KB/s, lost data,
// and an end after n bytes.

func latency(ms int) toxic { return jitter(ms, 0) }

func jitter(ms, by int) toxic {
	return toxic{"latency", down, fmt.Sprintf(`"latency": %d, "jitter": %d`, ms, by), 1}
}
func reset(way string) toxic  { return toxic{"reset_peer", way, `"timeout": 0`, 1} }
func narrow(way string) toxic { return toxic{"bandwidth", way, `"rate": 1`, 1} }
func drop(way string) toxic   { return toxic{"timeout", way, `"timeout": 0`, 1} }
func truncate(way string, n int) toxic {
	return toxic{"limit_data", way, fmt.Sprintf(`"bytes": %d`, n), 1}
}

// resetOnClose turns each end of a connection into a reset.
func resetOnClose(way string) toxic { return toxic{"reset_peer", way, `"timeout": 0`, 0} }

// networkFixture is a gateway with proxies between it and each system that it calls.
type networkFixture struct {
	*sandbox.Sandbox
	*process
	redis     *network
	providers map[string]*network
}

// providerTimeout is long enough for a busy machine, and shorter than the five seconds after which
// the simulators close a connection without a request.
const providerTimeout = 4 * time.Second

// padResponses makes each response longer than what 1 KB/s transfers within the timeout.
func padResponses(_ string, bank http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		recorder := httptest.NewRecorder()
		bank.ServeHTTP(recorder, r)
		maps.Copy(rw.Header(), recorder.Header())
		rw.WriteHeader(recorder.Code)
		_, _ = fmt.Fprintf(rw, "%20480s%s", "", recorder.Body.String())
	})
}

// newNetworkFixture starts simulators, Redis, proxies and a gateway.
func newNetworkFixture(t *testing.T) *networkFixture {
	t.Helper()
	server := redistest.Start(t)
	n := &networkFixture{redis: newNetwork(t, "redis", server.Addr), providers: map[string]*network{}}
	n.Sandbox = gatewaytest.NewSandboxWith(t, sandbox.Options{Redis: "{addresses: ['" + n.redis.Listen + "']}", Front: padResponses})
	text, err := os.ReadFile(n.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	var changes []string
	for _, base := range regexp.MustCompile(`(\w+): \{baseURL: "http://([^"]*)"`).FindAllStringSubmatch(string(text), -1) {
		n.providers[base[1]] = newNetwork(t, base[1], base[2])
		changes = append(changes, base[2], n.providers[base[1]].Listen,
			base[1]+": {baseURL", fmt.Sprintf("%s: {timeout: %v, baseURL", base[1], providerTimeout))
	}
	// An open breaker would hide the following faults.
	changes = append(changes, "name: Wood Bank,", "name: Wood Bank, breaker: {consecutiveFailures: 1000, minimumCalls: 1000},",
		"name: myPOS,", "name: myPOS, breaker: {consecutiveFailures: 1000, minimumCalls: 1000},")
	n.process = serve(t, gatewaytest.ReplaceInConfig(t, n.Sandbox, changes...))
	return n
}

// target is an ASPSP with an account.
type target struct{ provider, aspsp, account string }

var targets = []target{
	{"mastercard", mastercardsim.WoodBank, mastercardsim.Account},
	{"mypos", sandbox.MyPOS, mypossim.GoodAccount},
}

// consent returns an unused consent.
func (s target) consent() string {
	if s.provider == "mastercard" {
		return freshConsent()
	}
	return uuid.NewString()
}

func (s target) list() string     { return "/v1/aspsps/" + s.aspsp + "/accounts" }
func (s target) balances() string { return s.list() + "/" + s.account + "/balances" }

// get sends a request under a consent. It returns the outcome: "200" or the problem's code.
func (n *networkFixture) get(s target, path, consent string, attended bool, header ...string) string {
	header = append(header, "Consent-ID", consent, "Provider-Authorization", "Bearer "+mypossim.GoodToken)
	if attended {
		header = append(header, "PSU-IP-Address", "203.0.113.7")
	}
	resp := get(n.API+path, header...)
	code := regexp.MustCompile(`"code":"(\w+)"`).FindStringSubmatch(resp.body)
	if resp.status == http.StatusOK || code == nil {
		return fmt.Sprint(resp.status)
	}
	return code[1]
}

// getCounted sends an unattended request, again while Redis responds too late on a busy machine. It
// returns the outcome.
func (n *networkFixture) getCounted(t *testing.T, s target, path, consent string) (outcome string) {
	t.Helper()
	gatewaytest.Eventually(t, "the call is counted", func() bool {
		outcome = n.get(s, path, consent, false)
		return outcome != "COUNTER_UNAVAILABLE"
	})
	return outcome
}

// Offsets of a response. Its header has about 200 bytes, and no body is shorter.
const inHead, inBody = 60, 300

// brokenHead lists the outcomes of a call whose response breaks within the header. It depends on
// what was read before.
const brokenHead = "PROVIDER_ERROR PROVIDER_INVALID_RESPONSE"

// TestBadNetworksToProviders: with each fault of the network to a provider, a request gets its
// response or the documented problem within the timeout. An unattended call is made at most once,
// and counted unless it certainly was not sent. After the fault, requests succeed again.
func TestBadNetworksToProviders(t *testing.T) {
	t.Parallel()
	n := newNetworkFixture(t)
	tests := []networkFault{
		{name: "latency", toxics: []toxic{latency(100)}, attended: "200", unattended: "200", used: 1},
		{name: "latency beyond the timeout", toxics: []toxic{latency(60_000)}, attended: "PROVIDER_TIMEOUT", unattended: "PROVIDER_TIMEOUT", used: 1},
		{name: "jitter", toxics: []toxic{jitter(100, 90)}, attended: "200", unattended: "200", used: 1},
		{name: "reset before the request", toxics: []toxic{reset(up)}, attended: "PROVIDER_ERROR", unattended: "PROVIDER_ERROR", used: 1},
		{name: "reset before the response", toxics: []toxic{reset(down)}, attended: "PROVIDER_ERROR", unattended: "PROVIDER_ERROR", used: 1},
		{name: "end in the middle of the request", toxics: []toxic{truncate(up, 100)}, attended: "PROVIDER_ERROR", unattended: "PROVIDER_ERROR", used: 1},
		{name: "end in the middle of the header", toxics: []toxic{truncate(down, inHead)}, attended: brokenHead, unattended: brokenHead, used: 1},
		{name: "end in the middle of the body", toxics: []toxic{truncate(down, inBody)}, attended: "PROVIDER_ERROR", unattended: "PROVIDER_ERROR", used: 1},
		{name: "reset in the middle of the header", toxics: []toxic{truncate(down, inHead), resetOnClose(down)}, attended: brokenHead, unattended: brokenHead, used: 1},
		{name: "reset in the middle of the body", toxics: []toxic{truncate(down, inBody), resetOnClose(down)}, attended: "PROVIDER_ERROR", unattended: "PROVIDER_ERROR", used: 1},
		{name: "1 KB/s to the provider", toxics: []toxic{narrow(up)}, attended: "200 PROVIDER_TIMEOUT", unattended: "200 PROVIDER_TIMEOUT", used: 1}, // some requests are small enough
		{name: "1 KB/s from the provider", toxics: []toxic{narrow(down)}, attended: "PROVIDER_TIMEOUT", unattended: "PROVIDER_TIMEOUT", used: 1},
		{name: "half open, to the provider", toxics: []toxic{drop(up)}, attended: "PROVIDER_TIMEOUT", unattended: "PROVIDER_TIMEOUT", used: 1},
		// The simulator closes the connection of an unattended call after its response, and the
		// proxy passes the close on.
		{name: "half open, from the provider", toxics: []toxic{drop(down)}, attended: "PROVIDER_TIMEOUT", unattended: "PROVIDER_ERROR", used: 1},
		{name: "down", stopped: true, attended: "PROVIDER_UNAVAILABLE", unattended: "PROVIDER_UNAVAILABLE"},
	}
	t.Cleanup(func() {
		if breaches := len(n.CallLog.Breaches()); breaches != 0 {
			t.Errorf("%d breaches", breaches)
		}
	})
	for _, s := range targets {
		t.Run(s.provider, func(t *testing.T) {
			t.Parallel()
			for _, tt := range tests {
				t.Run(tt.name, func(t *testing.T) { n.testProviderFault(t, s, tt) })
			}
		})
	}
}

// networkFault is a fault of the network to a provider, with the outcomes of requests.
type networkFault struct {
	name       string
	toxics     []toxic
	stopped    bool   // the proxy does not listen
	attended   string // possible outcomes of attended requests
	unattended string // possible outcomes of the unattended request
	used       int    // the slots that it uses
}

// testProviderFault sends requests during a fault of the network to a provider, and after it.
func (n *networkFixture) testProviderFault(t *testing.T, s target, tt networkFault) {
	network := n.providers[s.provider]
	consent := s.consent()
	remove := func() { n.restart(t, network) }
	if tt.stopped {
		network.Stop()
	} else {
		remove = network.inject(tt.toxics...)
	}
	var requests sync.WaitGroup
	for _, path := range []string{s.list(), s.balances()} {
		requests.Go(func() { n.assertOutcome(t, s, path, s.consent(), true, tt.attended) })
	}
	requests.Go(func() {
		if got := n.getCounted(t, s, s.list(), consent); !slices.Contains(strings.Fields(tt.unattended), got) {
			t.Errorf("unattended: %s", got)
		}
	})
	requests.Wait()
	remove()
	used := -1
	gatewaytest.Eventually(t, "calls that were not sent are released", func() bool { used = n.usedCalls(t, s, consent); return used <= tt.used })
	if used != tt.used {
		t.Errorf("%d calls are counted, want %d", used, tt.used)
	}
	gatewaytest.Eventually(t, "requests succeed again", func() bool { return n.get(s, s.balances(), s.consent(), true) == "200" })
	for i := range 5 - tt.used {
		want := map[bool]string{true: "200", false: "UNATTENDED_LIMIT"}[i < 4-tt.used]
		if got := n.getCounted(t, s, s.balances(), consent); got != want {
			t.Errorf("unattended call %d afterwards: %s, want %s", i, got, want)
		}
	}
	if calls := callsByConsent(n.CallLog)[consent]; calls > 4 {
		t.Errorf("%d calls reached the bank", calls)
	}
}

// assertOutcome sends a request and checks that its outcome is one of the words in outcomes.
func (n *networkFixture) assertOutcome(t *testing.T, s target, path, consent string, attended bool, outcomes string) {
	if got := n.get(s, path, consent, attended); !slices.Contains(strings.Fields(outcomes), got) {
		t.Errorf("%s, attended %t: %s", path, attended, got)
	}
}

// restart starts a stopped proxy again at the same address.
func (n *networkFixture) restart(t *testing.T, stopped *network) {
	t.Helper()
	gatewaytest.Eventually(t, "the proxy listens again", func() bool { return stopped.Start() == nil })
}

// usedCalls returns how many calls are counted under a consent.
func (n *networkFixture) usedCalls(t *testing.T, s target, consent string) (used int) {
	t.Helper()
	gatewaytest.Eventually(t, "the counter responds", func() bool {
		resp := get(n.API+"/v1/aspsps/"+s.aspsp+"/unattended-access", "Consent-ID", consent)
		_, rest, ok := strings.Cut(resp.body, `"used":`)
		if !ok {
			return false
		}
		_, err := fmt.Sscan(strings.Split(rest, ",")[0], &used)
		return err == nil
	})
	return used
}

// testRedisFault sends requests during a fault of the network to Redis. unattended has the possible
// outcomes of unattended requests.
func (n *networkFixture) testRedisFault(t *testing.T, s target, consent, unattended string) {
	for range 3 {
		for _, path := range []string{s.list(), s.balances()} {
			if got := n.get(s, path, s.consent(), true); got != "200" {
				t.Errorf("attended at %s: %s", s.provider, got)
			}
		}
	}
	made := 0
	for _, path := range []string{s.list(), s.balances()} {
		var got string
		if unattended == "200" {
			got = n.getCounted(t, s, path, consent)
		} else {
			got = n.get(s, path, consent, false)
		}
		if got == "200" {
			made++
		}
		if !slices.Contains(strings.Fields(unattended), got) {
			t.Errorf("unattended at %s: %s", s.provider, got)
		}
	}
	if calls := callsByConsent(n.CallLog)[consent]; calls != made {
		t.Errorf("%d calls reached %s, but %d requests succeeded", calls, s.provider, made)
	}
}

// TestBadNetworksToRedis: with each fault of the network to Redis, attended requests succeed, an
// unattended call that cannot be counted is not made, and no consent gets more calls than the
// limit.
func TestBadNetworksToRedis(t *testing.T) {
	t.Parallel()
	n := newNetworkFixture(t)
	for _, tt := range []struct {
		name       string
		toxics     []toxic
		stopped    bool
		unattended string // possible outcomes of unattended requests
	}{
		{name: "latency", toxics: []toxic{latency(30)}, unattended: "200"},
		{name: "latency beyond the timeout", toxics: []toxic{latency(3000)}, unattended: "COUNTER_UNAVAILABLE"},
		{name: "jitter", toxics: []toxic{jitter(50, 45)}, unattended: "200"},
		{name: "reset before a command", toxics: []toxic{reset(up)}, unattended: "COUNTER_UNAVAILABLE"},
		{name: "reset before a response", toxics: []toxic{reset(down)}, unattended: "COUNTER_UNAVAILABLE"},
		{name: "end in the middle of a command", toxics: []toxic{truncate(up, 40)}, unattended: "COUNTER_UNAVAILABLE"},
		{name: "end in the middle of a response", toxics: []toxic{truncate(down, 3)}, unattended: "COUNTER_UNAVAILABLE"},
		{name: "1 KB/s", toxics: []toxic{narrow(up), narrow(down)}, unattended: "200 COUNTER_UNAVAILABLE"},
		{name: "half open, to Redis", toxics: []toxic{drop(up)}, unattended: "COUNTER_UNAVAILABLE"},
		{name: "half open, from Redis", toxics: []toxic{drop(down)}, unattended: "COUNTER_UNAVAILABLE"},
		{name: "down", stopped: true, unattended: "COUNTER_UNAVAILABLE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, s := range targets {
				n.usedCalls(t, s, s.consent()) // opens connections
			}
			remove := func() { n.restart(t, n.redis) }
			if tt.stopped {
				n.redis.Stop()
			} else {
				remove = n.redis.inject(tt.toxics...)
			}
			consents := map[string]string{}
			var requests sync.WaitGroup
			for _, s := range targets {
				consent := s.consent()
				consents[s.provider] = consent
				requests.Go(func() { n.testRedisFault(t, s, consent, tt.unattended) })
			}
			requests.Wait()
			remove()
			for _, s := range targets {
				gatewaytest.Eventually(t, "calls are counted again", func() bool { return n.get(s, s.balances(), s.consent(), false) == "200" })
				for range 6 {
					n.get(s, s.balances(), consents[s.provider], false)
				}
				if calls := callsByConsent(n.CallLog)[consents[s.provider]]; calls > 4 {
					t.Errorf("%d calls reached %s", calls, s.provider)
				}
			}
		})
	}
	if breaches := len(n.CallLog.Breaches()); breaches != 0 {
		t.Errorf("%d breaches", breaches)
	}
}
