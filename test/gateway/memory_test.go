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

// metric returns the value of a metric of the gateway that has no labels.
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

// gcLiveHeap matches a line that GODEBUG=gctrace=1 prints. Its group is the live heap in MB after
// the collection.
var gcLiveHeap = regexp.MustCompile(`(?m)^gc \d+ .* \d+->\d+->(\d+) MB`)

// liveHeapMB returns the smallest live heap of the gateway's last ten garbage collections, because
// requests in progress hold memory.
func (p *process) liveHeapMB() int {
	p.T.Helper()
	all := gcLiveHeap.FindAllStringSubmatch(p.Stderr.String(), -1)
	if len(all) < 10 {
		p.T.Fatalf("%d garbage collections, want at least 10", len(all))
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

// requestOn sends a request on a connection and returns the status. It needs less memory and time
// than an http.Client.
func requestOn(conn *bufio.ReadWriter, of consent, path string) (int, error) {
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

// TestManyConsents: a gateway keeps nothing in memory for a consent after its requests, not even
// for 50,000 consents. It reads the list of the first 20,000, and the usage of the others. The
// tolerance detects 180 bytes per list, or 70 per consent.
func TestManyConsents(t *testing.T) {
	const callers, warm, lists, all, tolerated = 64, 3_000, 20_000, 50_000, 2
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: func(_ string, bank http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			r.Header.Set("PSU-IP-Address", "203.0.113.7") // so that the simulator need not count, which takes long
			bank.ServeHTTP(rw, r)
		})
	}})
	p, consents := serve(t, w.ConfigFile, "GODEBUG=gctrace=1"), newConsents()
	conns := make([]*bufio.ReadWriter, callers)
	for i := range conns {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.API, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[i] = bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
	}
	var requested atomic.Int64
	requestUntil := func(last int64, path string) (aliveMB int) {
		var done sync.WaitGroup
		for _, conn := range conns {
			done.Go(func() {
				for i := requested.Add(1); i <= last; i = requested.Add(1) {
					status, err := requestOn(conn, consents.at(int(2*i+1)), path)
					for ; status == http.StatusServiceUnavailable; status, err = requestOn(conn, consents.at(int(2*i+1)), path) {
						time.Sleep(100 * time.Millisecond) // Redis responds late on a busy machine
					}
					if status != http.StatusOK {
						t.Errorf("status %d, %v", status, err)
						return
					}
				}
			})
		}
		done.Wait()
		requested.Store(last)
		return p.liveHeapMB()
	}
	before := requestUntil(warm, "/accounts")
	if mb := requestUntil(lists, "/accounts"); mb > before+tolerated {
		t.Errorf("a live heap of %d MB after the lists of %d consents, %d after %d", mb, lists, before, warm)
	}
	if mb := requestUntil(all, "/unattended-access"); mb > before+tolerated {
		t.Errorf("a live heap of %d MB after %d consents, %d after %d", mb, all, before, warm)
	}
	if n := p.metric("go_goroutine_count"); n > 2*callers+100 {
		t.Errorf("%d goroutines", n)
	}
	if n := len(w.CallLog.Calls()); n != lists {
		t.Errorf("%d calls reached the bank, want %d", n, lists)
	}
}

// TestCounterMemory: a used-up consent that the bank has blocked takes less than 1 KB in Redis, and
// its keys expire.
func TestCounterMemory(t *testing.T) {
	server := redistest.Start(t)
	w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{})
	p, client, c := serve(t, w.ConfigFile), newLoadClient(t, 1), newConsents().at(0)
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
		w.CallLog.SetPolicy(mastercardsim.WoodBank, aspspsim.Policy{Limit: 3, Window: window, Unit: aspspsim.PerConsent})
		for i := range tt.calls {
			if outcome, err := client.get(p.API, c, c.path(1)); err != nil {
				t.Fatalf("call %d: %q, %v", i, outcome, err)
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
		t.Errorf("%d bytes for a consent, want less than 1024", total)
	}
}
