//go:build measure

package compare_test

import (
	"bufio"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/sandbox"
)

var (
	sliceCount = flag.Int("slices", 20, "how many pairs of slices each case has")
	only       = flag.String("only", "", "parts of the names of the cases to run, separated by commas; empty for all")
	output     = flag.String("out", "", "the `file` to write the tables to as well")
)

const (
	// sliceTime is the duration of a slice, and attempts how often it is repeated while other
	// programs use more than maxForeign of the machine. Before each repetition, at most quietWaits
	// times quietTime pass until they use less than quiet.
	sliceTime  = time.Second
	attempts   = 3
	maxForeign = 0.12
	quiet      = 0.08
	quietTime  = sliceTime / 2
	quietWaits = 4
	// startCount is how often each server is started.
	startCount = 10
	// signatures is the number of signatures that are measured in one go.
	signatures = 100
)

// Requests of all cases have these values, except where a consent is a new one each time.
const (
	usedConsent    = "5b1c9a52-7d0e-4c3b-8f57-0a6de2c41b90"
	refusedConsent = "5b1c9a52-7d0e-4c3b-8f57-0a6de2c41b91"

	providerList     = "/v1/accounts"
	providerBalances = "/v1/accounts/" + anyAccount + "/balances"

	list     = "/accounts"
	balances = "/accounts/" + anyAccount + "/balances"
)

func TestMain(m *testing.M) { os.Exit(gatewaytest.Main(m)) }

// exchange is a request to a kind of server, and what is expected.
type exchange struct {
	server kind
	request
	calls  int    // how many calls of the upstream each request causes: 0 or 1
	want   string // what is in the response
	times  int    // how often
	before int    // how many requests are sent before the first one of which this is expected
}

// comparison is one row of the table.
type comparison struct {
	name          string
	base, subject exchange
}

// header returns the headers of a request, with more of them.
func header(consent string, more ...string) []string {
	return append([]string{
		"User-Agent", "compare", "Accept", "application/json", "X-API-Key", sandbox.Key, "Consent-ID", consent,
		"X-Request-ID", "0c8e7f2a-4b6d-4e19-a3d5-7f1b2c3d4e5f",
	}, more...)
}

var (
	token    = []string{"Provider-Authorization", "Bearer bGlrZS1hLXRva2Vu.ZS1vZi1teVBPUw"}
	attended = append([]string{"PSU-IP-Address", "203.0.113.7"}, token...)
)

// plain returns a request to a peer, and what it has to return.
func plain(k kind, path, want string, times, calls int) exchange {
	return exchange{server: k, request: get(http.StatusOK, path, header(usedConsent, attended...)...), calls: calls, want: want, times: times}
}

// api returns a request for accounts or balances to a gateway, which must return ten accounts or
// two balances.
func api(k kind, aspsp, path, consent string, headers []string, calls int) exchange {
	e := exchange{
		server: k, request: get(http.StatusOK, "/v1/aspsps/"+aspsp+path, header(consent, headers...)...),
		calls: calls, want: `"accountId"`, times: 10,
	}
	if path != list {
		e.want, e.times = `"creditDebitIndicator"`, 2
	}
	return e
}

// comparisons returns all rows.
func comparisons() []comparison {
	proxied := plain(reverseProxy, providerBalances, `"balanceType"`, 2, 1)
	proxiedSlowly := proxied
	proxiedSlowly.server = slowProxy
	proxiedList := plain(reverseProxy, providerList, `"accountNumber"`, 10, 1)
	cachedByNginx := plain(nginx, providerList, `"accountNumber"`, 10, 0)
	cached := api(gateway, sandbox.MyPOS, list, usedConsent, attended, 0)
	refused := api(gateway, sandbox.MyPOS, balances, refusedConsent, token, 0)
	refused.status, refused.want, refused.times, refused.before = http.StatusTooManyRequests, `"UNATTENDED_LIMIT"`, 1, 4
	return []comparison{
		{"balances attended", proxied, api(gateway, sandbox.MyPOS, balances, usedConsent, attended, 1)},
		{"balances attended with traces at 10 %", proxied, api(tracing, sandbox.MyPOS, balances, usedConsent, attended, 1)},
		{"balances unattended", proxied, api(gateway, sandbox.MyPOS, balances, freshConsent, token, 1)},
		{"list cached attended", cachedByNginx, cached},
		{"list cached unattended", cachedByNginx, api(gateway, sandbox.MyPOS, list, usedConsent, token, 0)},
		{"list not cached attended", proxiedList, api(gateway, sandbox.MyPOS, list, freshConsent, attended, 1)},
		{"OBC balances attended", proxied, api(gateway, mastercardsim.WoodBank, balances, usedConsent, attended, 1)},
		{"balances attended with a 20 ms upstream", proxiedSlowly, api(slowGateway, sandbox.MyPOS, balances, usedConsent, attended, 1)},
		{"refused unattended", cached, refused},
	}
}

// bench runs the comparison.
type bench struct {
	*servers
	out       io.Writer
	taken     int // slices in all
	repeated  int // of these because of other programs
	disturbed int // of these used nevertheless, because the last attempt was disturbed too
	errors    int // of the current row
	redisUse  []string
}

// TestCompare compares the gateway with plain servers, and prints tables for docs/performance.md.
// It fails if a server returns another response than the expected one. Only `make compare` builds
// and runs it.
func TestCompare(t *testing.T) {
	// The load uses one processor at most, so that the servers have the others.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	b := &bench{servers: newServers(t), out: os.Stdout}
	if *output != "" {
		file, err := os.Create(*output)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		b.out = io.MultiWriter(os.Stdout, file)
	}
	b.print("%d pairs of slices of %v, %d connections, %d processors, %s.\n", *sliceCount, sliceTime, connections, runtime.NumCPU(), runtime.Version())
	selected := 0
	for _, part := range []struct {
		names []string
		run   func(names []string)
	}{
		{names(comparisons()), b.costs},
		{[]string{"start"}, b.starts},
		{[]string{"throughput"}, b.throughput},
	} {
		chosen := slices.DeleteFunc(part.names, func(name string) bool { return !isSelected(name) })
		if selected += len(chosen); len(chosen) > 0 {
			part.run(chosen)
		}
	}
	if selected == 0 {
		t.Fatalf("no case has a name with %q", *only)
	}
	b.print("\n%d slices; %d more were repeated because other programs used more than %.0f %% of the machine, %d were disturbed in all %d attempts.\n",
		b.taken, b.repeated, 100*maxForeign, b.disturbed, attempts)
}

func names(all []comparison) []string {
	var found []string
	for _, c := range all {
		found = append(found, c.name)
	}
	return found
}

// isSelected reports whether the flag selects a case.
func isSelected(name string) bool {
	return slices.ContainsFunc(strings.Split(*only, ","), func(part string) bool { return strings.Contains(name, strings.TrimSpace(part)) })
}

func (b *bench) print(format string, values ...any) { fmt.Fprintf(b.out, format, values...) }

// costs prints the table of costs, and what Redis needs for cached lists.
func (b *bench) costs(chosen []string) {
	b.print("\n| case | base | ratio of CPU [IQR] | p99 ratio | Redis µs | RSS MB | errors |\n|---|---|---|---|---|---|---|\n")
	for _, c := range comparisons() {
		if !slices.Contains(chosen, c.name) {
			continue
		}
		if c.base.server == nginx && b.nginx == "" {
			b.print("| %s | nginx is not installed | | | | | |\n", c.name)
			continue
		}
		b.cost(c)
	}
	if b.redisUse != nil {
		b.print("\n| Redis | CPU µs [IQR] |\n|---|---|\n%s", strings.Join(b.redisUse, ""))
	}
}

// cost prints the row of one comparison. A case of a cached list also measures what Redis needs for
// it and for a GET of the same value, and one of OBC what a signature needs.
func (b *bench) cost(c comparison) {
	var gets []slice
	var signed []float64
	between := func(paired) {}
	switch {
	case strings.HasPrefix(c.name, "list cached"):
		between = func(paired) { gets = append(gets, b.slice(b.redisGet())) }
	case strings.HasPrefix(c.name, "OBC"):
		key := newKey(b.t)
		between = func(p paired) { signed = append(signed, p.subject.cpuEach()/micros(signatureTime(b.t, key))) }
	}
	b.errors = 0
	pairs := b.pairs(c.base, c.subject, between)
	ratio := ratios(pairs, slice.cpuEach).String()
	if signed != nil {
		ratio += fmt.Sprintf("; %v × one RSA-2048 signature", spreadOf(signed, func(v float64) float64 { return v }))
	}
	if c.subject.server == tracing {
		gatewaytest.Eventually(b.t, "a trace is exported", func() bool {
			_, exports := counts(b.t, b.get(tracing).stub)
			return exports > 0
		})
	}
	redis := ofSubjects(pairs, slice.redisEach)
	b.print("| %s | %s | %s | %s | %.0f | %.0f | %d |\n", c.name, c.base.label(), ratio, significant(ratios(pairs, slice.latency).median),
		redis.median, ofSubjects(pairs, slice.memoryMB).median, b.errors)
	b.t.Logf("%s: %v µs of CPU and %v responses a second, base %v µs; other programs: %v", c.name, ofSubjects(pairs, slice.cpuEach),
		ofSubjects(pairs, slice.rate), spreadOf(pairs, func(p paired) float64 { return p.before.cpuEach() }),
		ofSubjects(pairs, slice.foreignShare))
	if gets != nil {
		b.redisUse = append(b.redisUse, fmt.Sprintf("| %s | %v |\n", c.name, redis),
			fmt.Sprintf("| GET of that list, in the same minutes | %v |\n", spreadOf(gets, slice.redisEach)))
	}
}

// ofSubjects returns the spread of a value of the subject.
func ofSubjects(pairs []paired, of func(slice) float64) spread {
	return spreadOf(pairs, func(p paired) float64 { return of(p.subject) })
}

// pairs returns the slices of a subject with those of its base before and after. between is called
// after each pair.
func (b *bench) pairs(base, subject exchange, between func(paired)) []paired {
	for _, e := range []exchange{base, subject} {
		b.verify(e)
		b.attempt(e) // fills caches, opens connections
	}
	var all []paired
	for range *sliceCount {
		p := paired{b.slice(base), b.slice(subject), b.slice(base)}
		between(p)
		all = append(all, p)
	}
	return all
}

// verify fails the test unless the response to a request is the expected one.
func (b *bench) verify(e exchange) {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.get(e.server).addresses[0])
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	next, in := e.writer(0), bufio.NewReader(conn)
	for sent := 0; ; sent++ {
		if _, err := conn.Write(next()); err != nil {
			b.t.Fatal(err)
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			b.t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			b.t.Fatal(err)
		}
		if sent < e.before {
			continue
		}
		if resp.StatusCode != e.status || strings.Count(string(body), e.want) != e.times {
			b.t.Fatalf("%s: status %d, want %d and %d times %s in %s", e.server, resp.StatusCode, e.status, e.times, e.want, body)
		}
		return
	}
}

// slice returns a slice in which other programs have hardly used the machine, or the last attempt.
func (b *bench) slice(e exchange) slice {
	b.taken++
	for n := 1; ; n++ {
		s := b.attempt(e)
		if s.foreign <= maxForeign {
			return s
		}
		if n == attempts {
			b.disturbed++
			return s
		}
		b.repeated++
		b.awaitQuiet()
	}
}

// awaitQuiet waits until the machine does little, but not for long.
func (b *bench) awaitQuiet() {
	for range quietWaits {
		busy, all := gatewaytest.MachineTime(b.t)
		time.Sleep(quietTime)
		busyThen, allThen := gatewaytest.MachineTime(b.t)
		if float64(busyThen-busy) < quiet*float64(allThen-all) {
			return
		}
	}
}

// attempt sends requests for the time of a slice, and returns what they have cost. It fails the
// test, but does not end it, if a response is not the expected one, or if the upstream received
// another number of calls than the responses need: a list that was not cached would look expensive.
func (b *bench) attempt(e exchange) slice {
	on, redis := b.get(e.server), b.get(redisItself).pids
	var s slice
	calls := 0
	o := send(on.addresses, e.request, sliceTime, func(run func()) {
		if on.stub != "" {
			calls, _ = counts(b.t, on.stub)
		}
		busy, all := gatewaytest.MachineTime(b.t)
		ours, cpu, redisCPU := gatewaytest.CPUTime(b.t, os.Getpid()), gatewaytest.CPUTime(b.t, on.pids...), gatewaytest.CPUTime(b.t, redis...)
		run()
		s.cpu, s.redis = gatewaytest.CPUTime(b.t, on.pids...)-cpu, gatewaytest.CPUTime(b.t, redis...)-redisCPU
		ours = gatewaytest.CPUTime(b.t, os.Getpid()) - ours
		busyThen, allThen := gatewaytest.MachineTime(b.t)
		s.foreign = max(0, float64(busyThen-busy-ours)/float64(allThen-all))
		if on.stub != "" {
			after, _ := counts(b.t, on.stub)
			calls = after - calls
		}
	})
	s.responses, s.took, s.p99, s.memory = o.responses, o.took, o.p99, float64(gatewaytest.TreeResidentMB(b.t, on.pids...))
	if b.errors += o.errors; o.errors > 0 {
		b.t.Errorf("%s: %d errors, the first: %v", e.server, o.errors, o.firstErr)
	}
	if want := e.calls * o.responses; calls < want || calls > want+connections {
		b.t.Errorf("%s: %d responses and %d calls of the upstream", e.server, o.responses, calls)
	}
	if o.responses == 0 {
		b.t.Fatalf("%s: no response", e.server)
	}
	return s
}

// redisGet returns a GET of the cached list.
func (b *bench) redisGet() exchange {
	keys, err := b.redis.Do("KEYS", "ais:1:accounts:*:list").StringSlice()
	if err != nil || len(keys) == 0 {
		b.t.Fatalf("no list is cached: %v", err)
	}
	return exchange{server: redisItself, request: redisGet(keys[0])}
}

// newKey returns a key like that of OBC.
func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// signatureTime returns the CPU time of one signature, made as for OBC: PKCS #1 v1.5 with SHA-256.
func signatureTime(t *testing.T, key *rsa.PrivateKey) time.Duration {
	t.Helper()
	digest := sha256.Sum256([]byte("POST&http%3A%2F%2F127.0.0.1%2Faccounts"))
	before := ownCPUTime(t)
	for range signatures {
		if _, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:]); err != nil {
			t.Fatal(err)
		}
	}
	return (ownCPUTime(t) - before) / signatures
}

// ownCPUTime returns the CPU time that the test has used so far, more precisely than
// gatewaytest.CPUTime.
func ownCPUTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// starts prints how long servers take to start.
func (b *bench) starts([]string) {
	b.print("\n| server | from its start to the first 200, ms [IQR] |\n|---|---|\n")
	proxied := plain(reverseProxy, providerBalances, "", 0, 0)
	cached := plain(nginx, providerList, "", 0, 0)
	for _, e := range []exchange{api(gateway, sandbox.MyPOS, balances, usedConsent, attended, 1), proxied, cached} {
		if e.server == nginx && b.nginx == "" {
			b.print("| nginx | not installed |\n")
			continue
		}
		var took []time.Duration
		for range startCount {
			took = append(took, b.startTime(e.server, e.request))
		}
		b.print("| %s | %v |\n", e.server, spreadOf(took, func(d time.Duration) float64 { return micros(d) / 1000 }))
	}
}

// throughput prints how many responses a second gateways send that may use more processors.
func (b *bench) throughput([]string) {
	b.print("\n| request | gateway | responses a second | against | responses a second | ratio [IQR] | errors |\n|---|---|---|---|---|---|---|\n")
	for _, r := range []struct {
		name, path string
		calls      int
	}{{"balances attended", balances, 1}, {"list cached attended", list, 0}} {
		for _, k := range []kind{twoProcessors, twoOfThese} {
			b.errors = 0
			pairs := b.pairs(api(oneProcessor, sandbox.MyPOS, r.path, usedConsent, attended, r.calls),
				api(k, sandbox.MyPOS, r.path, usedConsent, attended, r.calls), func(paired) {})
			base := spreadOf(pairs, func(p paired) float64 { return (p.before.rate() + p.after.rate()) / 2 })
			b.print("| %s | %s | %.0f | %s | %.0f | %v | %d |\n", r.name, k, ofSubjects(pairs, slice.rate).median,
				oneProcessor, base.median, ratios(pairs, slice.rate), b.errors)
		}
	}
}

// label returns the name of the base in a table.
func (e exchange) label() string {
	if e.server == gateway {
		return "gateway, list cached attended"
	}
	return string(e.server)
}
