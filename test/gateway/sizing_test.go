//go:build measure

package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// sizingDuration is how long each kind of request is sent, by sizingWorkers concurrent callers.
const sizingDuration, sizingWorkers = 10 * time.Second, 32

// TestSizing measures the cost of each kind of request for one gateway, and prints a table for
// docs/operations.md. Only `make sizing` builds and runs it.
func TestSizing(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{})
	p := serve(t, w.ConfigFile)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: sizingWorkers}, Timeout: time.Minute}
	fresh := newConsents()
	var next atomic.Int64
	obc, pos := fresh.at(0), fresh.at(1)
	user := []string{"PSU-IP-Address", "203.0.113.7"}
	fmt.Print("| request | a second | median, 99th percentile | processor of the gateway | of Redis |\n|---|---|---|---|---|\n")
	for _, kind := range []struct {
		name   string
		want   int
		header []string
		of     func() consent
		what   int
	}{
		{"a list from the cache", 200, nil, func() consent { return obc }, 0},
		{"a list from OBC", 200, append([]string{"Cache-Control", "no-cache"}, user...), func() consent { return fresh.at(int(2 * next.Add(1))) }, 0},
		{"balances from OBC, attended", 200, user, func() consent { return obc }, 1},
		{"balances from myPOS, attended", 200, user, func() consent { return pos }, 1},
		{"balances from OBC, unattended", 200, nil, func() consent { return fresh.at(int(2 * next.Add(1))) }, 1},
		{"an unattended request that is refused", 429, nil, func() consent { return pos }, 1},
	} {
		if kind.want == http.StatusTooManyRequests { // the four calls are used up first
			for range 4 {
				sizingRequest(t, client, p.API, kind.of(), kind.what, nil)
			}
		}
		sizingRequest(t, client, p.API, kind.of(), kind.what, kind.header) // fills the cache and opens connections
		took, ours, redis := sizingCost(t, p.Pid(), server, func() []time.Duration {
			return sizingLoad(t, client, p.API, kind.of, kind.what, kind.header, kind.want)
		})
		each := func(cpu time.Duration) time.Duration {
			return (cpu / time.Duration(len(took))).Round(time.Microsecond)
		}
		fmt.Printf("| %s | %.0f | %v, %v | %v | %v |\n", kind.name, float64(len(took))/sizingDuration.Seconds(),
			took[len(took)/2].Round(10*time.Microsecond), took[len(took)*99/100].Round(10*time.Microsecond), each(ours), each(redis))
	}
	fmt.Printf("\n%d MB resident afterwards.\n", gatewaytest.ResidentMB(t, p.Pid()))
}

// sizingLoad sends requests from concurrent callers, and returns their durations in ascending
// order.
func sizingLoad(t *testing.T, c *http.Client, api string, of func() consent, what int, header []string, want int) []time.Duration {
	all := make([][]time.Duration, sizingWorkers)
	var workers sync.WaitGroup
	until := time.Now().Add(sizingDuration)
	for i := range all {
		workers.Go(func() {
			for began := time.Now(); began.Before(until); began = time.Now() {
				if status := sizingRequest(t, c, api, of(), what, header); status != want {
					t.Errorf("status %d, want %d", status, want)
					return
				}
				all[i] = append(all[i], time.Since(began))
			}
		})
	}
	workers.Wait()
	took := slices.Concat(all...)
	slices.Sort(took)
	if len(took) == 0 {
		t.Fatal("there was no response")
	}
	return took
}

// sizingRequest sends a request and returns the status.
func sizingRequest(t *testing.T, c *http.Client, api string, of consent, what int, header []string) int {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, api+"/v1/aspsps/"+of.aspsp+of.path(what), nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header.Set("X-API-Key", sandbox.Key)
	req.Header.Set("Consent-ID", of.id)
	if of.aspsp == sandbox.MyPOS {
		req.Header.Set("Provider-Authorization", "Bearer "+mypossim.GoodToken)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	return resp.StatusCode
}

// sizingCost runs do. It returns its result and the CPU time that the gateway and Redis used in
// that time.
func sizingCost(t *testing.T, pid int, server *redistest.Server, do func() []time.Duration) (took []time.Duration, ours, redis time.Duration) {
	before, redisBefore := gatewaytest.CPUTime(t, pid), redisCPUTime(t, server)
	took = do()
	return took, gatewaytest.CPUTime(t, pid) - before, redisCPUTime(t, server) - redisBefore
}

// redisCPUTime returns the CPU time that Redis has used, from INFO.
func redisCPUTime(t *testing.T, server *redistest.Server) time.Duration {
	t.Helper()
	text, err := server.Do("INFO", "cpu").Text()
	if err != nil {
		t.Fatal(err)
	}
	used := 0.0
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user" || name == "used_cpu_sys" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			used += seconds
		}
	}
	return time.Duration(used * float64(time.Second))
}
