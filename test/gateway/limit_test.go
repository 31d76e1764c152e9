package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/providers/obie/obiesim"
	"ais-gateway/internal/sandbox"
)

// consent is a consent id at an ASPSP that counts per consent.
type consent struct{ aspsp, id string }

// consents is an unlimited sequence of unused consents, alternately at Wood Bank and at myPOS.
type consents uuid.UUID

func newConsents() consents { return consents(uuid.New()) }

// at returns the consent with an index.
func (c consents) at(i int) consent {
	id := uuid.NewSHA1(uuid.UUID(c), []byte(strconv.Itoa(i))).String()
	if i%2 == 0 {
		return consent{mastercardsim.WoodBank, mastercardsim.FreshConsent + id}
	}
	return consent{sandbox.MyPOS, id}
}

// atEach returns the consent with an index, in turn at an ASPSP of each provider.
func (c consents) atEach(i int) consent {
	of := c.at(i)
	switch i % 4 {
	case 2:
		of.aspsp = sandbox.ElmBank
	case 3:
		of.aspsp = sandbox.KingfisherBank
	}
	return of
}

// accounts are an account of each ASPSP that consents are at.
var accounts = map[string]string{
	mastercardsim.WoodBank: mastercardsim.Account, sandbox.MyPOS: mypossim.GoodAccount, sandbox.ElmBank: "card-1",
	sandbox.KingfisherBank: obiesim.GoodAccount,
}

// token returns the user's token that the ASPSP requires; "" if it requires none.
func (c consent) token() string {
	switch c.aspsp {
	case sandbox.MyPOS:
		return mypossim.GoodToken
	case sandbox.KingfisherBank, sandbox.HeronBank:
		return obiesim.Token(c.id)
	}
	return ""
}

// path returns the path of a request under the consent. Each value of what is a separate call,
// which the bank counts: 0 is the account list, 1 the balances of an account, other values the
// balances of an unknown account.
func (c consent) path(what int) string {
	switch what {
	case 0:
		return "/accounts"
	case 1:
		return "/accounts/" + accounts[c.aspsp] + "/balances"
	default:
		return "/accounts/none-" + strconv.Itoa(what) + "/balances"
	}
}

// callsByConsent returns how many unattended calls reached the bank, by consent.
func callsByConsent(l *aspspsim.CallLog) map[string]int {
	calls := map[string]int{}
	for _, c := range l.Calls() {
		if !c.Attended {
			calls[c.Consent]++
		}
	}
	return calls
}

// loadClient sends unattended requests on persistent connections. It is safe for concurrent use.
type loadClient struct{ http.Client }

// newLoadClient returns a client for a number of concurrent callers.
func newLoadClient(t *testing.T, callers int) *loadClient {
	transport := &http.Transport{MaxIdleConnsPerHost: callers}
	t.Cleanup(transport.CloseIdleConnections)
	return &loadClient{http.Client{Transport: transport, Timeout: time.Minute}}
}

// get sends a request under a consent. It returns the outcome: the status and the problem's code.
func (c *loadClient) get(gateway string, under consent, path string) (string, error) {
	req, err := http.NewRequest(http.MethodGet, gateway+"/v1/aspsps/"+under.aspsp+path, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("X-API-Key", sandbox.Key)
	req.Header.Set("Consent-ID", under.id)
	req.Header.Set("Cache-Control", "no-cache")
	if token := under.token(); token != "" {
		req.Header.Set("Provider-Authorization", "Bearer "+token)
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var body struct{ Code string }
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return "", err
	}
	return strings.TrimSpace(strconv.Itoa(resp.StatusCode) + " " + body.Code), nil
}

// Outcomes of requests under load.
const (
	ok, accountUnknown, limitReached = "200", "404 ACCOUNT_UNKNOWN", "429 UNATTENDED_LIMIT"
	counterUnavailable               = "503 COUNTER_UNAVAILABLE"
)

// TestNoFifthCall: three gateways get 200 concurrent requests under ten consents. Exactly four
// calls for each consent reach the bank, in each of 50 repetitions.
func TestNoFifthCall(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	assertFourCalls(t, w.CallLog, []*process{serve(t, w.ConfigFile), serve(t, w.ConfigFile), serve(t, w.ConfigFile)}, 50, consents.atEach)
}

// assertFourCalls sends 200 concurrent requests under ten new consents to gateways, and checks that
// four calls for each consent reach the bank, in each repetition. A repetition in which Redis
// responds late does not count. It returns how many requests got the result of a call from each
// gateway.
func assertFourCalls(t *testing.T, callLog *aspspsim.CallLog, gateways []*process, repetitions int, at func(consents, int) consent) (made []int) {
	t.Helper()
	const callers, each = 200, 10
	client := newLoadClient(t, callers)
	made = make([]int, len(gateways))
	for completed, repetition := 0, 0; completed < repetitions; repetition++ {
		all := newConsents()
		outcomes, errs := make([]string, callers), make([]error, callers)
		gateway := func(i int) int { return (i%each + i/each) % len(gateways) } // each consent is used on every gateway
		gate, ready := make(chan struct{}), sync.WaitGroup{}
		var done sync.WaitGroup
		ready.Add(callers)
		for i := range callers {
			done.Go(func() {
				c := at(all, i%each)
				ready.Done()
				<-gate
				outcomes[i], errs[i] = client.get(gateways[gateway(i)].API, c, c.path(i/each))
			})
		}
		ready.Wait()
		close(gate)
		done.Wait()
		calls, called, late := callsByConsent(callLog), map[string]int{}, false
		for i, outcome := range outcomes {
			switch outcome {
			case ok, accountUnknown:
				called[at(all, i%each).id]++
				made[gateway(i)]++
			case limitReached:
			case counterUnavailable: // Redis responded late, and the slot may be released too late for the other requests
				late = true
			default:
				t.Errorf("repetition %d: outcome %q, %v", repetition, outcome, errs[i])
			}
		}
		for i := range each {
			if id := at(all, i).id; calls[id] > 4 || called[id] != calls[id] || !late && calls[id] != 4 {
				t.Errorf("repetition %d: %d calls reached the bank and %d requests got their result, want 4", repetition, calls[id], called[id])
			}
		}
		if n := len(callLog.Breaches()); n != 0 || t.Failed() {
			t.Fatalf("repetition %d: the bank refused %d calls", repetition, n)
		}
		if !late {
			completed++
		}
	}
	return made
}

// TestPagesTakeSlots: a gateway reads a list of three pages. Then three gateways get concurrent
// requests under the same consent for the list and for balances. Each page is a call, and four calls
// reach the bank.
func TestPagesTakeSlots(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	gateways := []*process{serve(t, w.ConfigFile), serve(t, w.ConfigFile), serve(t, w.ConfigFile)}
	const callers = 30
	client := newLoadClient(t, callers)
	for _, c := range []consent{
		{sandbox.WillowBank, berlingroupsim.ManyConsent}, {sandbox.HeronBank, obiesim.ManyConsent}, {sandbox.KingfisherBank, obiesim.ManyConsent},
	} {
		outcome, err := client.get(gateways[0].API, c, "/accounts")
		late := outcome == counterUnavailable
		if outcome != ok && !late {
			t.Errorf("%s: the list: outcome %q, %v", c.aspsp, outcome, err)
		}
		outcomes, errs := make([]string, callers), make([]error, callers)
		var done sync.WaitGroup
		for i := range callers {
			done.Go(func() { outcomes[i], errs[i] = client.get(gateways[i%3].API, c, c.path(i%2*(i+2))) })
		}
		done.Wait()
		calls := 0
		for _, call := range w.CallLog.Calls() {
			if call.ASPSP == c.aspsp {
				calls++
			}
		}
		for i, outcome := range outcomes {
			if late = late || outcome == counterUnavailable; !slices.Contains([]string{ok, accountUnknown, limitReached, counterUnavailable}, outcome) {
				t.Errorf("%s: outcome %q, %v", c.aspsp, outcome, errs[i])
			}
		}
		if calls > 4 || calls < 4 && !late {
			t.Errorf("%s: %d calls reached the bank, want 4", c.aspsp, calls)
		}
	}
	if n := len(w.CallLog.Breaches()); n != 0 {
		t.Errorf("the banks refused %d calls", n)
	}
}

// load sends requests under many consents to gateways until it is stopped. Each consent gets about
// ten requests in a short time, which is more than its four calls.
type load struct {
	*loadClient
	consents
	gateways []atomic.Value // their addresses, "" while a gateway is down
	requests atomic.Int64   // requests with a response, except COUNTER_UNAVAILABLE
	stop     func()         // sends no more requests and waits for the last responses

	mu       sync.Mutex
	outcomes map[string]int // the number of requests by outcome; "lost" is no response
}

const (
	loadWorkers        = 24
	requestsPerConsent = 10 // requests under each consent
	consentsInUse      = 20 // consents that get requests at the same time
)

// startLoad sends requests to gateways until the test ends.
func startLoad(t *testing.T, gateways []*process) *load {
	l := &load{
		loadClient: newLoadClient(t, loadWorkers), consents: newConsents(), outcomes: map[string]int{},
		gateways: make([]atomic.Value, len(gateways)),
	}
	for i, p := range gateways {
		l.gateways[i].Store(p.API)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	for range loadWorkers {
		callers.Go(func() {
			for ctx.Err() == nil {
				l.sendOne()
			}
		})
	}
	l.stop = func() { cancel(); callers.Wait() }
	t.Cleanup(l.stop)
	return l
}

// sendOne sends a request to a random gateway and records its outcome.
func (l *load) sendOne() {
	gateway := l.gateways[rand.IntN(len(l.gateways))].Load().(string)
	if gateway == "" {
		return
	}
	c := l.at(int(l.requests.Load())/requestsPerConsent + rand.IntN(consentsInUse))
	outcome, err := l.get(gateway, c, c.path(rand.IntN(requestsPerConsent)))
	switch {
	case err != nil:
		outcome = "lost"
	case outcome == counterUnavailable:
		time.Sleep(20 * time.Millisecond)
	default:
		l.requests.Add(1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcomes[outcome]++
}

// count returns the number of requests with one of the outcomes.
func (l *load) count(outcomes ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, a := range outcomes {
		n += l.outcomes[a]
	}
	return n
}

// waitForOutcomes waits until a number of further requests have one of the outcomes.
func (l *load) waitForOutcomes(t *testing.T, more int, outcomes ...string) {
	t.Helper()
	before := l.count(outcomes...)
	gatewaytest.Eventually(t, fmt.Sprintf("%d more requests get one of %q", more, outcomes), func() bool { return l.count(outcomes...) >= before+more })
}

// assertOnly checks that all requests have one of the outcomes.
func (l *load) assertOnly(t *testing.T, outcomes ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for outcome, n := range l.outcomes {
		if !slices.Contains(outcomes, outcome) {
			t.Errorf("%d requests got %q", n, outcome)
		}
	}
}

// usedConsents returns how many consents the load has used.
func (l *load) usedConsents() int { return int(l.requests.Load())/requestsPerConsent + consentsInUse }

// exhaust sends requests to all gateways until each consent that the load has used gets
// UNATTENDED_LIMIT.
func (l *load) exhaust(t *testing.T) {
	t.Helper()
	var left atomic.Int64
	var callers sync.WaitGroup
	var open atomic.Int64
	for range loadWorkers {
		callers.Go(func() {
			for i := int(left.Add(1)) - 1; i < l.usedConsents(); i = int(left.Add(1)) - 1 {
				if !l.exhaustConsent(l.at(i)) {
					open.Add(1)
				}
			}
		})
	}
	callers.Wait()
	if n := open.Load(); n > 0 {
		t.Errorf("%d consents do not reach the limit", n)
	}
}

// exhaustConsent sends requests under a consent until it gets UNATTENDED_LIMIT. It returns false if
// that takes too long.
func (l *load) exhaustConsent(c consent) bool {
	for try, end := 0, time.Now().Add(2*time.Minute); time.Now().Before(end); try++ {
		outcome, err := l.get(l.gateways[try%len(l.gateways)].Load().(string), c, c.path(requestsPerConsent+try))
		switch {
		case err == nil && outcome == limitReached:
			return true
		case err != nil || outcome == counterUnavailable:
			time.Sleep(50 * time.Millisecond)
		}
	}
	return false
}

// finish stops the load and exhausts each consent. It returns how many calls reached the bank, how
// many of them were beyond the four of a consent, and how many of the four were never made.
func (l *load) finish(t *testing.T, callLog *aspspsim.CallLog) (calls, over, lost int) {
	t.Helper()
	l.stop()
	l.exhaust(t)
	came := callsByConsent(callLog)
	for i := range l.usedConsents() {
		n := came[l.at(i).id]
		calls, over, lost = calls+n, over+max(n-4, 0), lost+max(4-n, 0)
	}
	return calls, over, lost
}

// withProviderTimeout returns a configuration with another timeout of the providers, and so with
// other leases.
func withProviderTimeout(t *testing.T, w *sandbox.Sandbox, timeout time.Duration) string {
	t.Helper()
	return gatewaytest.EditConfig(t, w, func(text string) string {
		return strings.ReplaceAll(text, "{baseURL: ", "{timeout: "+timeout.String()+", baseURL: ")
	})
}

// TestGatewaysKilled: gateways are killed and restarted one after the other under load. No consent
// gets a fifth call, only calls that were in progress at a kill are lost, and the other gateways
// continue.
func TestGatewaysKilled(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	config := withProviderTimeout(t, w, 5*time.Second)
	gateways := []*process{serve(t, config), serve(t, config), serve(t, config)}
	l := startLoad(t, gateways)
	kills := 0
	for ; kills < 12 || l.count("lost") == 0; kills++ {
		l.waitForOutcomes(t, 5, ok, accountUnknown)
		victim := kills % 3
		gateways[victim].Kill()
		l.gateways[victim].Store("")
		l.waitForOutcomes(t, 1, ok, accountUnknown) // from the other gateways
		gateways[victim] = serve(t, config)
		l.gateways[victim].Store(gateways[victim].API)
	}
	_, over, lost := l.finish(t, w.CallLog)
	if refused := len(w.CallLog.Breaches()); over > 0 || refused > 0 {
		t.Errorf("%d calls beyond four reached the bank, which refused %d", over, refused)
	}
	l.assertOnly(t, ok, accountUnknown, limitReached, counterUnavailable, "lost")
	if n := l.count("lost", counterUnavailable); lost > n {
		t.Errorf("%d calls were never made, but %d requests were in progress at %d kills", lost, n, kills)
	}
	t.Logf("%d kills, %d consents, %v; calls never made: %d", kills, l.usedConsents(), l.outcomes, lost)
}

// TestLeaseOfKilledGateway: a gateway is killed during a call. A request that waits for that call
// on another gateway makes its own call when the lease of the killed gateway has expired.
func TestLeaseOfKilledGateway(t *testing.T) {
	t.Parallel()
	const timeout, lease = 5 * time.Second, 7 * time.Second
	arrived, hold := make(chan struct{}, 2), make(chan struct{})
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: func(_ string, bank http.Handler) http.Handler {
		var calls atomic.Int64
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if calls.Add(1) == 1 {
				arrived <- struct{}{}
				<-hold
			}
			bank.ServeHTTP(rw, r)
		})
	}})
	config := withProviderTimeout(t, w, timeout)
	killed, other := serve(t, config), serve(t, config)
	client, c := newLoadClient(t, 2), newConsents().at(0)
	began := time.Now()
	lost := make(chan error)
	go func() {
		_, err := client.get(killed.API, c, "/accounts")
		lost <- err
	}()
	<-arrived
	waiting := make(chan string)
	go func() {
		outcome, _ := client.get(other.API, c, "/accounts")
		waiting <- outcome
	}()
	gatewaytest.Eventually(t, "the other gateway has the request", func() bool { return activeRequests(t, other) == 1 })
	killed.Kill()
	if err := <-lost; err == nil {
		t.Error("the killed gateway sent a response")
	}
	if outcome := <-waiting; outcome != ok {
		t.Errorf("outcome %q, want %q", outcome, ok)
	}
	if took := time.Since(began); took < lease-100*time.Millisecond {
		t.Errorf("response after %v, before the lease of %v had expired", took, lease)
	}
	close(hold)
}
