package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// metric is the value of a gateway's metric that has no labels.
func (p *process) metric(name string) int {
	p.T.Helper()
	_, text := gatewaytest.Call(p.T, http.MethodGet, p.Admin+"/metrics")
	_, value, found := strings.Cut(text, "\n"+name+" ")
	value, _, _ = strings.Cut(value, "\n")
	n, err := strconv.ParseFloat(value, 64)
	if !found || err != nil {
		p.T.Fatalf("%s: %q, %v", name, value, err)
	}
	return int(n)
}

// collection is what the runtime says of a garbage collection under GODEBUG=gctrace=1; the last number is what stays.
var collection = regexp.MustCompile(`(?m)^gc \d+ .* \d+->\d+->(\d+) MB`)

// alive is how many MB stayed at a gateway's last ten garbage collections: the least, since requests hold some.
func (p *process) alive() int {
	p.T.Helper()
	all := collection.FindAllStringSubmatch(p.Stderr.String(), -1)
	if len(all) < 10 {
		p.T.Fatalf("%d garbage collections are too few to tell", len(all))
	}
	least := 1 << 20
	for _, c := range all[len(all)-10:] {
		mb, err := strconv.Atoi(c[1])
		if err != nil {
			p.T.Fatal(err)
		}
		least = min(least, mb)
	}
	return least
}

// askOn asks on a connection of one's own, which costs the test less than a client does.
func askOn(conn *bufio.ReadWriter, of consent, path string) (int, error) {
	fmt.Fprintf(conn, "GET /v1/aspsps/%s%s HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %s\r\nConsent-ID: %s\r\nProvider-Authorization: Bearer %s\r\n\r\n",
		of.aspsp, path, sandbox.Key, of.id, mypossim.GoodToken)
	if err := conn.Flush(); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(conn.Reader, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// A gateway holds nothing for consents that it was asked for: not for 50,000 of them either. The first 20,000 are
// asked for their list, for the others it looks where they stand: seen are 180 bytes that stay of each list, or 70 of
// each consent.
func TestManyConsents(t *testing.T) {
	const callers, warm, lists, all, tolerated = 64, 3_000, 20_000, 50_000, 2
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: func(_ string, bank http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			r.Header.Set("PSU-IP-Address", "203.0.113.7") // the bank need not count, which would take it long
			bank.ServeHTTP(rw, r)
		})
	}})
	p, consents := serve(t, w.ConfigFile, "GODEBUG=gctrace=1"), freshConsents()
	conns := make([]*bufio.ReadWriter, callers)
	for i := range conns {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.API, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[i] = bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
	}
	var asked atomic.Int64
	askUntil := func(last int64, path string) (aliveMB int) {
		var done sync.WaitGroup
		for _, conn := range conns {
			done.Go(func() {
				for i := asked.Add(1); i <= last; i = asked.Add(1) {
					status, err := askOn(conn, consents.at(int(2*i+1)), path)
					for ; status == http.StatusServiceUnavailable; status, err = askOn(conn, consents.at(int(2*i+1)), path) {
						time.Sleep(100 * time.Millisecond) // Redis answers late on a busy machine
					}
					if status != http.StatusOK {
						t.Errorf("answered %d, %v", status, err)
						return
					}
				}
			})
		}
		done.Wait()
		asked.Store(last)
		return p.alive()
	}
	before := askUntil(warm, "/accounts")
	if mb := askUntil(lists, "/accounts"); mb > before+tolerated {
		t.Errorf("%d MB stay after the lists of %d consents, %d after %d", mb, lists, before, warm)
	}
	if mb := askUntil(all, "/unattended-access"); mb > before+tolerated {
		t.Errorf("%d MB stay after %d consents, %d after %d", mb, all, before, warm)
	}
	if n := p.metric("go_goroutine_count"); n > 2*callers+100 {
		t.Errorf("%d goroutines", n)
	}
	if n := len(w.Ledger.Calls()); n != lists {
		t.Errorf("%d calls reached the bank, want %d", n, lists)
	}
}

// What a consent that is used up takes in Redis: four slots, and a closure where the bank has refused a call.
func TestMemoryOfTheCounter(t *testing.T) {
	server := redistest.Start(t)
	w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{})
	p, crowd, of := serve(t, w.ConfigFile), newCrowd(t, 1), freshConsents().at(0)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer rdb.Close()
	const window, timeout = 24 * time.Hour, 10 * time.Second
	total := 0
	for _, tt := range []struct {
		key     string
		calls   int
		expires time.Duration
	}{
		{"slots", 3, 2*window + timeout},
		{"closed", 1, window + time.Second}, // the key outlives the time in its value
	} {
		w.Ledger.SetPolicy(mastercardsim.WoodBank, aspspsim.Policy{Limit: 3, Window: window, Unit: aspspsim.PerConsent})
		for i := range tt.calls {
			if answer, err := crowd.ask(p.API, of, of.path(1)); err != nil {
				t.Fatalf("call %d: %q, %v", i, answer, err)
			}
		}
		keys, err := rdb.Keys(t.Context(), "ais:1:unattended:{*}:"+tt.key).Result()
		if err != nil || len(keys) != 1 {
			t.Fatalf("%s: %v, %v", tt.key, keys, err)
		}
		if left := rdb.PTTL(t.Context(), keys[0]).Val(); left <= tt.expires-time.Minute || left > tt.expires {
			t.Errorf("%s: expires in %v, want %v", tt.key, left, tt.expires)
		}
	}
	if n := rdb.ZCard(t.Context(), rdb.Keys(t.Context(), "ais:1:unattended:{*}:slots").Val()[0]).Val(); n != 4 {
		t.Errorf("%d slots, want 4", n)
	}
	for _, key := range rdb.Keys(t.Context(), "ais:1:unattended:*").Val() {
		bytes := int(rdb.MemoryUsage(t.Context(), key, 0).Val())
		t.Logf("%s: %d bytes", key, bytes)
		total += bytes
	}
	if total == 0 || total >= 1024 {
		t.Errorf("%d bytes for one consent, want less than 1024", total)
	}
}
