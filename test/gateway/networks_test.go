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

// A network is a way to one address that can be made bad.
type network struct {
	*toxiproxy.Proxy
	t *testing.T
}

// networkTo opens a way to an address.
func networkTo(t *testing.T, name, address string) *network {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled) // some of it logs without asking whereto
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(server, name, "127.0.0.1:0", address)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return &network{p, t}
}

// A toxic is what makes a network bad, as toxiproxy writes it: kind, direction, attributes, and for how many connections
// (1 is all; 0 none, but that of the kind which is said of their ends).
type toxic struct {
	kind, stream, attributes string
	toxicity                 int
}

// poison makes the network bad for whatever goes through it from now on, until the function is called.
func (n *network) poison(all ...toxic) (heal func()) {
	n.t.Helper()
	for _, x := range all {
		text := fmt.Sprintf(`{"type": %q, "stream": %q, "attributes": {%s}, "toxicity": %d}`, x.kind, x.stream, x.attributes, x.toxicity)
		if _, err := n.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
			n.t.Fatal(err)
		}
	}
	return func() { n.Toxics.ResetToxics(n.t.Context()) }
}

// What a network may do. "down" is the way from the bank, or from Redis; "up" the way there.
const up, down = "upstream", "downstream"

func slowly(ms int) toxic { return jittery(ms, 0) }
func jittery(ms, by int) toxic {
	return toxic{"latency", down, fmt.Sprintf(`"latency": %d, "jitter": %d`, ms, by), 1}
}
func resetting(way string) toxic  { return toxic{"reset_peer", way, `"timeout": 0`, 1} }
func thin(way string) toxic       { return toxic{"bandwidth", way, `"rate": 1`, 1} }
func silent(way string) toxic     { return toxic{"timeout", way, `"timeout": 0`, 1} }
func cut(way string, n int) toxic { return toxic{"limit_data", way, fmt.Sprintf(`"bytes": %d`, n), 1} }

// hard makes every end of a connection a reset.
func hard(way string) toxic { return toxic{"reset_peer", way, `"timeout": 0`, 0} }

// networks is a world with bad ways between its gateway and everything that it calls.
type networks struct {
	*sandbox.Sandbox
	*process
	redis     *network
	providers map[string]*network
}

// providerTimeout is long enough for a busy machine to answer within it, and shorter than the five seconds after which the
// simulators end a connection without a request.
const providerTimeout = 4 * time.Second

// padded makes every answer longer than what 1 KB/s bring within the time.
func padded(_ string, bank http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		bank.ServeHTTP(answer, r)
		maps.Copy(rw.Header(), answer.Header())
		rw.WriteHeader(answer.Code)
		_, _ = fmt.Fprintf(rw, "%20480s%s", "", answer.Body.String())
	})
}

func badNetworks(t *testing.T) *networks {
	t.Helper()
	server := redistest.Start(t)
	n := &networks{redis: networkTo(t, "redis", server.Addr), providers: map[string]*network{}}
	n.Sandbox = gatewaytest.NewSandboxWith(t, sandbox.Options{Redis: "{addresses: ['" + n.redis.Listen + "']}", Front: padded})
	text, err := os.ReadFile(n.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	var changes []string
	for _, base := range regexp.MustCompile(`(\w+): \{baseURL: "http://([^"]*)"`).FindAllStringSubmatch(string(text), -1) {
		n.providers[base[1]] = networkTo(t, base[1], base[2])
		changes = append(changes, base[2], n.providers[base[1]].Listen,
			base[1]+": {baseURL", fmt.Sprintf("%s: {timeout: %v, baseURL", base[1], providerTimeout))
	}
	// A breaker that opens would hide what comes after it.
	changes = append(changes, "name: Wood Bank,", "name: Wood Bank, breaker: {consecutiveFailures: 1000, minimumCalls: 1000},",
		"name: myPOS,", "name: myPOS, breaker: {consecutiveFailures: 1000, minimumCalls: 1000},")
	n.process = serve(t, gatewaytest.ReplaceInConfig(t, n.Sandbox, changes...))
	return n
}

// A subject is a bank behind one of the adapters.
type subject struct{ provider, aspsp, account string }

var subjects = []subject{
	{"mastercard", mastercardsim.WoodBank, mastercardsim.Account},
	{"mypos", sandbox.MyPOS, mypossim.GoodAccount},
}

// consent is one that nobody has used yet.
func (s subject) consent() string {
	if s.provider == "mastercard" {
		return fresh()
	}
	return uuid.NewString()
}

func (s subject) list() string     { return "/v1/aspsps/" + s.aspsp + "/accounts" }
func (s subject) balances() string { return s.list() + "/" + s.account + "/balances" }

// ask makes a request under a consent, and returns how it ended: 200 or the problem's code.
func (n *networks) ask(s subject, path, consent string, attended bool, header ...string) string {
	header = append(header, "Consent-ID", consent, "Provider-Authorization", "Bearer "+mypossim.GoodToken)
	if attended {
		header = append(header, "PSU-IP-Address", "203.0.113.7")
	}
	a := ask(n.API+path, header...)
	code := regexp.MustCompile(`"code":"(\w+)"`).FindStringSubmatch(a.body)
	if a.status == http.StatusOK || code == nil {
		return fmt.Sprint(a.status)
	}
	return code[1]
}

// askCounted asks without the user, once more while Redis answers too late on a busy machine.
func (n *networks) askCounted(t *testing.T, s subject, path, consent string) (outcome string) {
	t.Helper()
	gatewaytest.Eventually(t, "the call is counted", func() bool {
		outcome = n.ask(s, path, consent, false)
		return outcome != "COUNTER_UNAVAILABLE"
	})
	return outcome
}

// The answer's head is some 200 bytes, and no body is shorter than that.
const inHead, inBody = 60, 300

// brokenHead is how a call ends whose answer breaks in its head: it depends on what of it has been read by then.
const brokenHead = "PROVIDER_ERROR PROVIDER_INVALID_RESPONSE"

// Whatever the network to a provider does, a request gets the right problem or its answer within the time, an unattended
// call is made once at most and counted unless it surely was not sent, and afterwards all is as before.
func TestBadNetworksToProviders(t *testing.T) {
	t.Parallel()
	n := badNetworks(t)
	tests := []badWay{
		{name: "latency", toxics: []toxic{slowly(100)}, attended: "200", alone: "200", used: 1},
		{name: "latency beyond the time", toxics: []toxic{slowly(60_000)}, attended: "PROVIDER_TIMEOUT", alone: "PROVIDER_TIMEOUT", used: 1},
		{name: "jitter", toxics: []toxic{jittery(100, 90)}, attended: "200", alone: "200", used: 1},
		{name: "reset before the request", toxics: []toxic{resetting(up)}, attended: "PROVIDER_ERROR", alone: "PROVIDER_ERROR", used: 1},
		{name: "reset before the answer", toxics: []toxic{resetting(down)}, attended: "PROVIDER_ERROR", alone: "PROVIDER_ERROR", used: 1},
		{name: "end in the middle of the request", toxics: []toxic{cut(up, 100)}, attended: "PROVIDER_ERROR", alone: "PROVIDER_ERROR", used: 1},
		{name: "end in the middle of the head", toxics: []toxic{cut(down, inHead)}, attended: brokenHead, alone: brokenHead, used: 1},
		{name: "end in the middle of the body", toxics: []toxic{cut(down, inBody)}, attended: "PROVIDER_ERROR", alone: "PROVIDER_ERROR", used: 1},
		{name: "reset in the middle of the head", toxics: []toxic{cut(down, inHead), hard(down)}, attended: brokenHead, alone: brokenHead, used: 1},
		{name: "reset in the middle of the body", toxics: []toxic{cut(down, inBody), hard(down)}, attended: "PROVIDER_ERROR", alone: "PROVIDER_ERROR", used: 1},
		{name: "1 KB/s there", toxics: []toxic{thin(up)}, attended: "200 PROVIDER_TIMEOUT", alone: "200 PROVIDER_TIMEOUT", used: 1}, // some requests are small enough
		{name: "1 KB/s back", toxics: []toxic{thin(down)}, attended: "PROVIDER_TIMEOUT", alone: "PROVIDER_TIMEOUT", used: 1},
		{name: "half open", toxics: []toxic{silent(up)}, attended: "PROVIDER_TIMEOUT", alone: "PROVIDER_TIMEOUT", used: 1},
		// The bank ends the connection of an unattended call after its answer, and that gets through.
		{name: "half open, the other way", toxics: []toxic{silent(down)}, attended: "PROVIDER_TIMEOUT", alone: "PROVIDER_ERROR", used: 1},
		{name: "down", stopped: true, attended: "PROVIDER_UNAVAILABLE", alone: "PROVIDER_UNAVAILABLE"},
	}
	t.Cleanup(func() {
		if breaches := len(n.Ledger.Breaches()); breaches != 0 {
			t.Errorf("%d breaches", breaches)
		}
	})
	for _, s := range subjects {
		t.Run(s.provider, func(t *testing.T) {
			t.Parallel()
			for _, tt := range tests {
				t.Run(tt.name, func(t *testing.T) { n.worse(t, s, tt) })
			}
		})
	}
}

// A badWay is what a network to a provider does, and how requests end because of it.
type badWay struct {
	name     string
	toxics   []toxic
	stopped  bool   // nobody listens
	attended string // how requests end: one of these words
	alone    string // how the unattended one does
	used     int    // by it
}

// worse makes requests while the network to a provider is bad, and afterwards.
func (n *networks) worse(t *testing.T, s subject, tt badWay) {
	way := n.providers[s.provider]
	consent := s.consent()
	heal := func() { n.restart(t, way) }
	if tt.stopped {
		way.Stop()
	} else {
		heal = way.poison(tt.toxics...)
	}
	var asking sync.WaitGroup
	for _, path := range []string{s.list(), s.balances()} {
		asking.Go(func() { n.ends(t, s, path, s.consent(), true, tt.attended) })
	}
	asking.Go(func() {
		if got := n.askCounted(t, s, s.list(), consent); !slices.Contains(strings.Fields(tt.alone), got) {
			t.Errorf("unattended: %s", got)
		}
	})
	asking.Wait()
	heal()
	used := -1
	gatewaytest.Eventually(t, "the calls that were sent are counted, and no others", func() bool { used = n.used(t, s, consent); return used <= tt.used })
	if used != tt.used {
		t.Errorf("%d calls are counted, want %d", used, tt.used)
	}
	gatewaytest.Eventually(t, "all is as before", func() bool { return n.ask(s, s.balances(), s.consent(), true) == "200" })
	for i := range 5 - tt.used {
		want := map[bool]string{true: "200", false: "UNATTENDED_LIMIT"}[i < 4-tt.used]
		if got := n.askCounted(t, s, s.balances(), consent); got != want {
			t.Errorf("unattended call %d afterwards: %s, want %s", i, got, want)
		}
	}
	if calls := reached(n.Ledger)[consent]; calls > 4 {
		t.Errorf("%d calls reached the bank", calls)
	}
}

// ends fails the test unless a request ends in one of the ways that are listed.
func (n *networks) ends(t *testing.T, s subject, path, consent string, attended bool, ways string) {
	if got := n.ask(s, path, consent, attended); !slices.Contains(strings.Fields(ways), got) {
		t.Errorf("%s, attended %t: %s", path, attended, got)
	}
}

// restart lets a way that was stopped lead on, at the address where it was.
func (n *networks) restart(t *testing.T, way *network) {
	t.Helper()
	gatewaytest.Eventually(t, "the way is open again", func() bool { return way.Start() == nil })
}

// used is how many calls are counted under a consent.
func (n *networks) used(t *testing.T, s subject, consent string) (used int) {
	t.Helper()
	gatewaytest.Eventually(t, "the counter answers", func() bool {
		a := ask(n.API+"/v1/aspsps/"+s.aspsp+"/unattended-access", "Consent-ID", consent)
		_, rest, ok := strings.Cut(a.body, `"used":`)
		if !ok {
			return false
		}
		_, err := fmt.Sscan(strings.Split(rest, ",")[0], &used)
		return err == nil
	})
	return used
}

// withoutRedis asks a bank while the way to Redis is bad. counts are the ways in which an unattended request may end.
func (n *networks) withoutRedis(t *testing.T, s subject, consent, counts string) {
	for range 3 {
		for _, path := range []string{s.list(), s.balances()} {
			if got := n.ask(s, path, s.consent(), true); got != "200" {
				t.Errorf("attended at %s: %s", s.provider, got)
			}
		}
	}
	made := 0
	for _, path := range []string{s.list(), s.balances()} {
		var got string
		if counts == "200" {
			got = n.askCounted(t, s, path, consent)
		} else {
			got = n.ask(s, path, consent, false)
		}
		if got == "200" {
			made++
		}
		if !slices.Contains(strings.Fields(counts), got) {
			t.Errorf("unattended at %s: %s", s.provider, got)
		}
	}
	if calls := reached(n.Ledger)[consent]; calls != made {
		t.Errorf("%d calls reached %s, %d were answered", calls, s.provider, made)
	}
}

// Whatever the network to Redis does, attended requests are answered, an unattended one that cannot be counted is not
// made, and never more than the limit are.
func TestBadNetworksToRedis(t *testing.T) {
	t.Parallel()
	n := badNetworks(t)
	for _, tt := range []struct {
		name    string
		toxics  []toxic
		stopped bool
		counts  string // how unattended requests end
	}{
		{name: "latency", toxics: []toxic{slowly(30)}, counts: "200"},
		{name: "latency beyond the time", toxics: []toxic{slowly(3000)}, counts: "COUNTER_UNAVAILABLE"},
		{name: "jitter", toxics: []toxic{jittery(50, 45)}, counts: "200"},
		{name: "reset before a command", toxics: []toxic{resetting(up)}, counts: "COUNTER_UNAVAILABLE"},
		{name: "reset before an answer", toxics: []toxic{resetting(down)}, counts: "COUNTER_UNAVAILABLE"},
		{name: "end in the middle of a command", toxics: []toxic{cut(up, 40)}, counts: "COUNTER_UNAVAILABLE"},
		{name: "end in the middle of an answer", toxics: []toxic{cut(down, 3)}, counts: "COUNTER_UNAVAILABLE"},
		{name: "1 KB/s", toxics: []toxic{thin(up), thin(down)}, counts: "200 COUNTER_UNAVAILABLE"},
		{name: "half open", toxics: []toxic{silent(up)}, counts: "COUNTER_UNAVAILABLE"},
		{name: "half open, the other way", toxics: []toxic{silent(down)}, counts: "COUNTER_UNAVAILABLE"},
		{name: "down", stopped: true, counts: "COUNTER_UNAVAILABLE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, s := range subjects {
				n.used(t, s, s.consent()) // connections stand
			}
			heal := func() { n.restart(t, n.redis) }
			if tt.stopped {
				n.redis.Stop()
			} else {
				heal = n.redis.poison(tt.toxics...)
			}
			consents := map[string]string{}
			var asking sync.WaitGroup
			for _, s := range subjects {
				consent := s.consent()
				consents[s.provider] = consent
				asking.Go(func() { n.withoutRedis(t, s, consent, tt.counts) })
			}
			asking.Wait()
			heal()
			for _, s := range subjects {
				gatewaytest.Eventually(t, "it counts again", func() bool { return n.ask(s, s.balances(), s.consent(), false) == "200" })
				for range 6 {
					n.ask(s, s.balances(), consents[s.provider], false)
				}
				if calls := reached(n.Ledger)[consents[s.provider]]; calls > 4 {
					t.Errorf("%d calls reached %s", calls, s.provider)
				}
			}
		})
	}
	if breaches := len(n.Ledger.Breaches()); breaches != 0 {
		t.Errorf("%d breaches", breaches)
	}
}
