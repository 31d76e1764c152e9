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

// soakFor is how long TestSoak goes on; `make soak` says 10 minutes.
var soakFor = flag.Duration("soak", 8*time.Second, "for how long the gateway is given ten times what it can serve")

const (
	// What the good banks can serve in a second, together: each lets soakCalls be under way, which take soakDelay.
	soakCalls, soakDelay = 4, 100 * time.Millisecond
	soakServed           = 2 * soakCalls * int(time.Second/soakDelay)
	// soakTimes is how many times that is asked of them. What is bad, slow or unattended comes besides.
	soakTimes = 10
	// soakCrowd is how many requests are under way at most. It is reached where the machine cannot carry what is offered.
	soakCrowd = 512
	// judgedFrom is how long the test must go on for a verdict about how many requests are served.
	judgedFrom = 30 * time.Second
)

// TestSoak gives one gateway ten times what its good banks can serve, and besides a bank that never answers, one that
// answers rubbish, requests without the user, ill-formed ones, callers who go away, and callers who send byte by byte.
// Nothing may leak or grow, no bank may be asked beyond its limit, and in a long run of the attended requests to the good
// banks at least 80 % as many must be served as without all that. How many that are another gateway tells at the same time, which
// has no more callers than its good banks take: a machine that has other work is as slow for both.
func TestSoak(t *testing.T) {
	w, p := soaked(t)
	s := newSoak(t, p)
	_, calm := soaked(t)
	quiet := newSoak(t, calm)
	idle := s.sample()

	for n := range 6 { // of the first consent all that there is to be had
		s.unattended(10 * n)
	}
	var samples []vitals
	watch := time.NewTicker(max(*soakFor/100, 200*time.Millisecond))
	defer watch.Stop()
	s.begin()
	beside := make(chan float64, 1)
	go func() { beside <- quiet.served(*soakFor) }()
	began := time.Now()
	before := s.good.Load()
	for time.Since(began) < *soakFor {
		<-watch.C
		samples = append(samples, s.sample())
	}
	crowded := float64(s.good.Load()-before) / time.Since(began).Seconds()
	alone := <-beside
	s.end()

	first, last := median(samples[len(samples)/4:len(samples)/2]), median(samples[len(samples)*3/4:])
	most := slices.MaxFunc(samples[len(samples)/2:], func(a, b vitals) int { return a.callers - b.callers }).callers
	t.Logf("attended requests served in a second: %.0f alone, %.0f (%.0f %%) beside all the rest; offered %d", alone, crowded, 100*crowded/alone,
		soakServed*soakTimes)
	t.Logf("answers: %s; %d not asked", s.answers(), s.kept.Load())
	t.Logf("idle before %v; second quarter %v; last quarter %v", idle, first, last)
	// Rates say something over minutes alone.
	if *soakFor > judgedFrom && crowded < 0.8*alone {
		t.Errorf("%.0f attended requests a second are served in the crowd, and %.0f without it", crowded, alone)
	}
	// Where the machine has time for the quiet gateway, callers are kept waiting by the other.
	if asked := soakServed * soakTimes * int(soakFor.Seconds()); *soakFor > judgedFrom && alone > 0.85*float64(soakServed) && int(s.kept.Load()) > asked/5 {
		t.Errorf("the crowd is kept waiting: %d of %d requests could not be made", s.kept.Load(), asked)
	}
	// Callers whom a busy machine keeps waiting have a connection each, which is a file, two goroutines and some 50 kB: these are
	// the crowd's, and not the gateway's.
	more := max(most-first.callers, 0)
	if last.goroutines > first.goroutines*3/2+100+2*more || last.files-last.callers > max(first.files-first.callers, 0)*3/2+100 ||
		last.megabytes > first.megabytes*5/4+16+more/16 {
		t.Errorf("grows: from %v to %v, with %d callers' connections at most", first, last, most)
	}
	if breaches := w.Ledger.Breaches(); len(breaches) > 0 {
		t.Errorf("%d calls beyond the limit", len(breaches))
	}
	for _, must := range []string{"200", "503 OVERLOADED", "429 UNATTENDED_LIMIT", "400 FORMAT_ERROR", "401 UNAUTHENTICATED"} {
		if s.count(must) == 0 {
			t.Errorf("nothing was answered %s: the crowd is not what it should be", must)
		}
	}
	for answer := range s.all() {
		if strings.HasPrefix(answer, "500") || strings.HasPrefix(answer, "error") {
			t.Errorf("answered %s %d times", answer, s.count(answer))
		}
	}
	if *soakFor > time.Minute {
		time.Sleep(20 * time.Second) // the gateway looks at its goroutines every 15 s
	}
	// What is kept open towards the banks stays for a while: 64 connections each at most.
	gatewaytest.Eventually(t, "all that was begun has ended", func() bool {
		now := s.sample()
		return now.goroutines < idle.goroutines+300 && now.files < idle.files+150
	})
}

// soaked is a gateway, and a world of its own.
func soaked(t *testing.T) (*sandbox.Sandbox, *process) {
	t.Helper()
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: soakFront})
	return w, serve(t, gatewaytest.ReplaceInConfig(t, w,
		`adminAddress: "127.0.0.1:0"}`, fmt.Sprintf(`adminAddress: "127.0.0.1:0", limits: {perASPSP: %d}}`, soakCalls),
		`signing-key.pem"}`, `signing-key.pem", timeout: 1s}`))
}

// soakFront makes Stone Bank never answer, River Bank answer rubbish, and all others take their time.
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

// vitals are what must not grow, and how many connections the crowd has open.
type vitals struct{ goroutines, files, megabytes, callers int }

func median(samples []vitals) vitals {
	middle := func(of func(vitals) int) int {
		all := make([]int, len(samples))
		for i, s := range samples {
			all[i] = of(s)
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	return vitals{
		middle(func(v vitals) int { return v.goroutines }), middle(func(v vitals) int { return v.files }),
		middle(func(v vitals) int { return v.megabytes }), middle(func(v vitals) int { return v.callers }),
	}
}

func (v vitals) String() string {
	return fmt.Sprintf("%d goroutines, %d files (of %d callers), %d MB", v.goroutines, v.files, v.callers, v.megabytes)
}

// A soak is a crowd around one gateway.
type soak struct {
	t        *testing.T
	p        *process
	client   http.Client
	consents consents
	next     atomic.Int64
	callers  atomic.Int64 // connections that are open
	crowd    atomic.Int64 // requests that are under way
	kept     atomic.Int64 // requests that were not made, since too many were under way
	good     atomic.Int64 // attended requests to good banks that were served
	mu       sync.Mutex
	answered map[string]int
	stop     context.CancelFunc
	done     sync.WaitGroup
}

func newSoak(t *testing.T, p *process) *soak {
	s := &soak{t: t, p: p, consents: freshConsents(), answered: map[string]int{}}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DialContext: s.dial}
	t.Cleanup(transport.CloseIdleConnections)
	s.client = http.Client{Transport: transport, Timeout: 2 * time.Minute}
	return s
}

// dial opens a connection that is counted until it is closed.
func (s *soak) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s.callers.Add(1)
	return &soakConn{Conn: conn, closed: sync.OnceFunc(func() { s.callers.Add(-1) })}, nil
}

type soakConn struct {
	net.Conn
	closed func()
}

func (c *soakConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

func (s *soak) sample() vitals {
	files, err := os.ReadDir("/proc/" + strconv.Itoa(s.p.Pid()) + "/fd")
	if err != nil {
		s.t.Fatal(err)
	}
	return vitals{s.p.metric("go_goroutine_count"), len(files), gatewaytest.ResidentMB(s.t, s.p.Pid()), int(s.callers.Load())}
}

// served is how many attended requests a second are served to as many callers as the good banks take at once.
func (s *soak) served(during time.Duration) float64 {
	var served atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for i := range 2 * soakCalls {
		all.Go(func() {
			for time.Since(began) < during {
				if s.attended(2*int(s.next.Add(1))+i%2) == given {
					served.Add(1)
				}
			}
		})
	}
	all.Wait()
	return float64(served.Load()) / time.Since(began).Seconds()
}

// begin lets the crowd come, at fixed rates, whatever becomes of it.
func (s *soak) begin() {
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	every := func(perSecond int, do func(n int)) {
		s.done.Go(func() { s.offer(ctx, perSecond, do) })
	}
	every(soakServed*soakTimes, func(n int) {
		if s.note(s.attended(n)) == given {
			s.good.Add(1)
		}
	})
	every(20, func(n int) {
		s.note(s.ask(consent{mastercardsim.StoneBank, s.consents.at(2 * n).id}, "/accounts", user))
	})
	every(20, func(n int) {
		s.note(s.ask(consent{mastercardsim.RiverBank, s.consents.at(2 * n).id}, "/accounts", user))
	})
	every(40, s.unattended)
	every(10, func(n int) { s.note(s.ask(consent{mastercardsim.WoodBank, ""}, "/accounts", nil)) })
	every(10, func(n int) {
		s.note(s.ask(s.consents.at(n), "/accounts", http.Header{"X-Api-Key": {"nobody's"}}))
	})
	every(3, s.leave)
	every(5, s.dawdle)
}

func (s *soak) end() {
	s.stop()
	s.done.Wait()
	s.client.CloseIdleConnections()
}

// offer does something so many times a second, without waiting for it, and at the end for all of it.
func (s *soak) offer(ctx context.Context, perSecond int, do func(n int)) {
	const tick = 10 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var under sync.WaitGroup
	defer under.Wait()
	began, n := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for due := int(time.Since(began).Seconds() * float64(perSecond)); n < due; n++ {
			one := n
			if s.crowd.Add(1) > soakCrowd {
				s.crowd.Add(-1)
				s.kept.Add(1)
				continue
			}
			under.Go(func() {
				defer s.crowd.Add(-1)
				do(one)
			})
		}
	}
}

var user = http.Header{"Psu-Ip-Address": {"203.0.113.7"}}

// attended asks a good bank for balances, with the user there.
func (s *soak) attended(n int) string {
	of := s.consents.at(n)
	return s.ask(of, of.path(1), user)
}

// unattended asks without the user, under one of ten consents, for one of six things.
func (s *soak) unattended(n int) {
	of := s.consents.at(1<<30 + n%10)
	s.note(s.ask(of, of.path(n/10%6), nil))
}

func (s *soak) request(ctx context.Context, of consent, path string, more http.Header) *http.Request {
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

// ask makes one request, and returns the status with the problem's code.
func (s *soak) ask(of consent, path string, more http.Header) string {
	resp, err := s.client.Do(s.request(context.Background(), of, path, more))
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

// leave asks and goes away before the answer.
func (s *soak) leave(n int) {
	ctx, cancel := context.WithTimeout(context.Background(), soakDelay/2)
	defer cancel()
	if resp, err := s.client.Do(s.request(ctx, s.consents.at(n), "/accounts", user)); err == nil {
		_ = resp.Body.Close()
	}
}

// dawdle sends a request byte by byte and never ends it.
func (s *soak) dawdle(int) {
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

func (s *soak) note(answer string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered[answer]++
	return answer
}

func (s *soak) all() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.answered)
}

func (s *soak) count(answer string) int { return s.all()[answer] }

func (s *soak) answers() string {
	var all []string
	for answer, n := range s.all() {
		all = append(all, fmt.Sprintf("%d × %s", n, answer))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
