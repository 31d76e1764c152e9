package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/sandbox"
)

// soakDuration is how long TestSoak sends requests. `make soak` sets 10 minutes.
var soakDuration = flag.Duration("soak", 8*time.Second, "how long TestSoak sends ten times the requests that the good ASPSPs can serve")

const (
	// soakCapacity is how many requests per second the two good ASPSPs can serve together: each has
	// soakPerASPSP concurrent calls, which take soakDelay.
	soakPerASPSP, soakDelay = 4, 100 * time.Millisecond
	soakCapacity            = 2 * soakPerASPSP * int(time.Second/soakDelay)
	// soakFactor is the load for the good ASPSPs, in multiples of soakCapacity. All other requests
	// are in addition.
	soakFactor = 10
	// soakMaxInFlight is the maximum number of requests in progress. It is reached if the machine
	// is too slow for the load.
	soakMaxInFlight = 512
	// minJudgedDuration is the duration from which on the test checks rates and growth under load.
	// In a shorter run, a slow machine has not reached its steady state.
	minJudgedDuration = 30 * time.Second
)

// TestSoak: a gateway gets ten times the requests that its good ASPSPs can serve. In addition it
// gets requests to an ASPSP that never responds and to one that returns garbage, unattended and
// invalid requests, callers that leave early, and callers that send byte by byte. No call is beyond
// the limit, and after the load goroutines and files are back at the level from before. In a long
// run, goroutines, files and memory do not grow under the load, and the throughput of attended
// requests to the good ASPSPs is at least 80 % of that of a second gateway, which runs at the same
// time with only as many callers as its good ASPSPs can serve, so that other work on the machine
// affects both.
func TestSoak(t *testing.T) {
	w, p := startSoakGateway(t)
	s := newSoak(t, p)
	_, calm := startSoakGateway(t)
	quiet := newSoak(t, calm)
	idle := s.sample()

	for n := range 6 { // use up the first consent
		s.sendUnattended(10 * n)
	}
	var samples []resources
	watch := time.NewTicker(max(*soakDuration/100, 200*time.Millisecond))
	defer watch.Stop()
	s.start()
	calmResult := make(chan float64, 1)
	go func() { calmResult <- quiet.measureThroughput(*soakDuration) }()
	began := time.Now()
	before := s.served.Load()
	for time.Since(began) < *soakDuration {
		<-watch.C
		samples = append(samples, s.sample())
	}
	loaded := float64(s.served.Load()-before) / time.Since(began).Seconds()
	baseline := <-calmResult
	s.finish()

	first, last := median(samples[len(samples)/4:len(samples)/2]), median(samples[len(samples)*3/4:])
	most := slices.MaxFunc(samples[len(samples)/2:], func(a, b resources) int { return a.connections - b.connections }).connections
	t.Logf("attended requests per second: %.0f baseline, %.0f (%.0f %%) under load; offered %d", baseline, loaded, 100*loaded/baseline,
		soakCapacity*soakFactor)
	t.Logf("outcomes: %s; %d requests not sent", s.summary(), s.skipped.Load())
	t.Logf("before: %v; second quarter: %v; last quarter: %v", idle, first, last)
	// Rates are significant only over minutes.
	if *soakDuration > minJudgedDuration && loaded < 0.8*baseline {
		t.Errorf("%.0f attended requests per second under load, want at least 80 %% of %.0f", loaded, baseline)
	}
	// If the second gateway reaches its capacity, the machine is fast enough: then requests are not
	// sent because the first one is slow.
	if offered := soakCapacity * soakFactor * int(soakDuration.Seconds()); *soakDuration > minJudgedDuration && baseline > 0.85*float64(soakCapacity) && int(s.skipped.Load()) > offered/5 {
		t.Errorf("%d of %d requests could not be sent, because too many were in progress", s.skipped.Load(), offered)
	}
	// Each connection of a caller that waits needs a file, two goroutines and about 50 kB in the
	// gateway. They are not counted as growth.
	more := max(most-first.connections, 0)
	grows := last.goroutines > first.goroutines*3/2+100+2*more || last.files-last.connections > max(first.files-first.connections, 0)*3/2+100 ||
		last.megabytes > first.megabytes*5/4+16+more/16
	if *soakDuration > minJudgedDuration && grows {
		t.Errorf("the gateway grows: from %v to %v, with at most %d connections of callers", first, last, most)
	}
	if breaches := w.CallLog.Breaches(); len(breaches) > 0 {
		t.Errorf("%d calls beyond the limit", len(breaches))
	}
	for _, want := range []string{"200", "503 OVERLOADED", "429 UNATTENDED_LIMIT", "400 FORMAT_ERROR", "401 UNAUTHENTICATED"} {
		if s.count(want) == 0 {
			t.Errorf("no request has the outcome %s", want)
		}
	}
	for outcome := range s.snapshot() {
		if strings.HasPrefix(outcome, "500") || strings.HasPrefix(outcome, "error") {
			t.Errorf("outcome %s of %d requests", outcome, s.count(outcome))
		}
	}
	if *soakDuration > time.Minute {
		time.Sleep(20 * time.Second) // the gateway counts its goroutines every 15 s
	}
	// Idle connections to the providers stay open for a while, at most 64 for each.
	gatewaytest.Eventually(t, "goroutines and files are back at the idle level", func() bool {
		now := s.sample()
		return now.goroutines < idle.goroutines+300 && now.files < idle.files+150
	})
}

// startSoakGateway starts a gateway with a sandbox of its own.
func startSoakGateway(t *testing.T) (*sandbox.Sandbox, *process) {
	t.Helper()
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: soakFront})
	return w, serve(t, gatewaytest.ReplaceInConfig(t, w,
		`adminAddress: "127.0.0.1:0"}`, fmt.Sprintf(`adminAddress: "127.0.0.1:0", limits: {perASPSP: %d}}`, soakPerASPSP),
		`signing-key.pem"}`, `signing-key.pem", timeout: 1s}`))
}

// soakFront lets Stone Bank never respond, River Bank return garbage, and all others respond after
// soakDelay.
func soakFront(_ string, simulator http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		switch {
		case bytes.Contains(body, []byte(mastercardsim.StoneBank)):
			<-r.Context().Done()
			return
		case bytes.Contains(body, []byte(mastercardsim.RiverBank)):
			_, _ = io.WriteString(w, `<html>[[[[`)
			return
		}
		time.Sleep(soakDelay)
		simulator.ServeHTTP(w, r)
	})
}

// resources is what must not grow in a gateway, and the number of open connections of callers.
type resources struct{ goroutines, files, megabytes, connections int }

// median returns the median of each resource.
func median(samples []resources) resources {
	middle := func(of func(resources) int) int {
		all := make([]int, len(samples))
		for i, s := range samples {
			all[i] = of(s)
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	return resources{
		middle(func(v resources) int { return v.goroutines }), middle(func(v resources) int { return v.files }),
		middle(func(v resources) int { return v.megabytes }), middle(func(v resources) int { return v.connections }),
	}
}

func (v resources) String() string {
	return fmt.Sprintf("%d goroutines, %d files (%d connections of callers), %d MB", v.goroutines, v.files, v.connections, v.megabytes)
}

// soak sends load to a gateway and records the outcomes.
type soak struct {
	t           *testing.T
	p           *process
	client      http.Client
	consents    consents
	next        atomic.Int64
	connections atomic.Int64 // open connections
	inFlight    atomic.Int64 // requests in progress
	skipped     atomic.Int64 // requests that were not sent, because too many were in progress
	served      atomic.Int64 // successful attended requests to good ASPSPs
	mu          sync.Mutex
	outcomes    map[string]int
	stop        context.CancelFunc
	done        sync.WaitGroup
}

// newSoak returns a load for a gateway. It sends nothing yet.
func newSoak(t *testing.T, p *process) *soak {
	s := &soak{t: t, p: p, consents: newConsents(), outcomes: map[string]int{}}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DialContext: s.dial}
	t.Cleanup(transport.CloseIdleConnections)
	s.client = http.Client{Transport: transport, Timeout: 2 * time.Minute}
	return s
}

// dial opens a connection and counts it until it is closed.
func (s *soak) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s.connections.Add(1)
	return &soakConn{Conn: conn, closed: sync.OnceFunc(func() { s.connections.Add(-1) })}, nil
}

type soakConn struct {
	net.Conn
	closed func()
}

func (c *soakConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

// sample returns the resources of the gateway.
func (s *soak) sample() resources {
	files, err := os.ReadDir("/proc/" + strconv.Itoa(s.p.Pid()) + "/fd")
	if err != nil {
		s.t.Fatal(err)
	}
	return resources{s.p.metric("go_goroutine_count"), len(files), gatewaytest.ResidentMB(s.t, s.p.Pid()), int(s.connections.Load())}
}

// measureThroughput returns how many attended requests per second succeed, with as many callers as
// the good ASPSPs can serve concurrently.
func (s *soak) measureThroughput(during time.Duration) float64 {
	var served atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for i := range 2 * soakPerASPSP {
		all.Go(func() {
			for time.Since(began) < during {
				if s.sendAttended(2*int(s.next.Add(1))+i%2) == ok {
					served.Add(1)
				}
			}
		})
	}
	all.Wait()
	return float64(served.Load()) / time.Since(began).Seconds()
}

// start sends all kinds of requests at fixed rates, until finish is called.
func (s *soak) start() {
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	every := func(perSecond int, do func(n int)) {
		s.done.Go(func() { s.offer(ctx, perSecond, do) })
	}
	every(soakCapacity*soakFactor, func(n int) {
		if s.record(s.sendAttended(n)) == ok {
			s.served.Add(1)
		}
	})
	every(20, func(n int) {
		s.record(s.get(consent{mastercardsim.StoneBank, s.consents.at(2 * n).id}, "/accounts", attendedHeader))
	})
	every(20, func(n int) {
		s.record(s.get(consent{mastercardsim.RiverBank, s.consents.at(2 * n).id}, "/accounts", attendedHeader))
	})
	every(40, s.sendUnattended)
	every(10, func(n int) { s.record(s.get(consent{mastercardsim.WoodBank, ""}, "/accounts", nil)) })
	every(10, func(n int) {
		s.record(s.get(s.consents.at(n), "/accounts", http.Header{"X-Api-Key": {"nobody's"}}))
	})
	every(3, s.sendAndCancel)
	every(5, s.sendSlowly)
}

// finish ends the load and waits for the last responses.
func (s *soak) finish() {
	s.stop()
	s.done.Wait()
	s.client.CloseIdleConnections()
}

// offer calls do at a rate, each time in a new goroutine, until ctx ends. Then it waits for all of
// them.
func (s *soak) offer(ctx context.Context, perSecond int, do func(n int)) {
	const tick = 10 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	began, n := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for due := int(time.Since(began).Seconds() * float64(perSecond)); n < due; n++ {
			one := n
			if s.inFlight.Add(1) > soakMaxInFlight {
				s.inFlight.Add(-1)
				s.skipped.Add(1)
				continue
			}
			running.Go(func() {
				defer s.inFlight.Add(-1)
				do(one)
			})
		}
	}
}

var attendedHeader = http.Header{"Psu-Ip-Address": {"203.0.113.7"}}

// sendAttended requests balances from a good ASPSP, attended. It returns the outcome.
func (s *soak) sendAttended(n int) string {
	of := s.consents.at(n)
	return s.get(of, of.path(1), attendedHeader)
}

// sendUnattended sends one of six unattended requests under one of ten consents.
func (s *soak) sendUnattended(n int) {
	of := s.consents.at(1<<30 + n%10)
	s.record(s.get(of, of.path(n/10%6), nil))
}

func (s *soak) newRequest(ctx context.Context, of consent, path string, more http.Header) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.p.API+"/v1/aspsps/"+of.aspsp+path, nil)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	r.Header.Set("X-API-Key", sandbox.Key)
	r.Header.Set("Consent-ID", of.id)
	if of.aspsp == sandbox.MyPOS {
		r.Header.Set("Provider-Authorization", "Bearer "+mypossim.GoodToken)
	}
	for name, values := range more {
		r.Header[name] = values
	}
	return r
}

// get sends a request. It returns the outcome: the status and the problem's code.
func (s *soak) get(of consent, path string, more http.Header) string {
	resp, err := s.client.Do(s.newRequest(context.Background(), of, path, more))
	if err != nil {
		return "error"
	}
	defer resp.Body.Close()
	var body struct{ Code string }
	if json.NewDecoder(resp.Body).Decode(&body) != nil {
		return "error in a body"
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return strings.TrimSpace(strconv.Itoa(resp.StatusCode) + " " + body.Code)
}

// sendAndCancel sends a request and cancels it before the response.
func (s *soak) sendAndCancel(n int) {
	ctx, cancel := context.WithTimeout(context.Background(), soakDelay/2)
	defer cancel()
	if resp, err := s.client.Do(s.newRequest(ctx, s.consents.at(n), "/accounts", attendedHeader)); err == nil {
		_ = resp.Body.Close()
	}
}

// sendSlowly sends a request byte by byte and does not finish it.
func (s *soak) sendSlowly(int) {
	conn, err := s.dial(context.Background(), "tcp", strings.TrimPrefix(s.p.API, "http://"))
	if err != nil {
		return
	}
	defer conn.Close()
	for _, b := range []byte("GET /v1/aspsps HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + strings.Repeat("x", 100)) {
		if _, err := conn.Write([]byte{b}); err != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// record counts an outcome and returns it.
func (s *soak) record(outcome string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes[outcome]++
	return outcome
}

func (s *soak) snapshot() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.outcomes)
}

func (s *soak) count(outcome string) int { return s.snapshot()[outcome] }

func (s *soak) summary() string {
	var all []string
	for outcome, n := range s.snapshot() {
		all = append(all, fmt.Sprintf("%d × %s", n, outcome))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
