package deploy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/prometheustest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/sandbox"
)

const (
	seriesWarm = 1200   // requests after which every series there is to be is there, but a few
	seriesAll  = 10_000 // requests, each with a consent, an account, or whatever else it makes up, of its own
	// seriesMore is how many series may come late: an outcome that the machine's load brings about has some 20. Each kind of
	// request is made 900 times, so that what is theirs alone in a label has 900 at least.
	seriesMore = 200
)

// hostileText is what breaks labels, lines and templates where somebody handles it carelessly, another at each call.
func hostileText(i int) string {
	wild := []string{
		`",le="0.1`, `{accountId}`, `..`, `%2e%2e`, "\u202e", `\`, `"`, `}`, `ключ`, `<script>`, `' OR 1=1`, `$(id)`, strings.Repeat("a", 900), "#", "?x=", "a/b",
	}
	return fmt.Sprintf("%s%d", wild[i%len(wild)], i)
}

// seriesRequest is the i-th of the requests, of which eleven in a row have nothing in common.
func seriesRequest(ctx context.Context, api string, i int) (*http.Request, error) {
	method, path, header := http.MethodGet, "", http.Header{"X-Api-Key": {sandbox.Key}}
	bank := banks[i/11%len(banks)]
	wood, pos := "/v1/aspsps/"+mastercardsim.WoodBank, "/v1/aspsps/"+sandbox.MyPOS
	consent := mastercardsim.FreshConsent + uuid.NewString()
	switch i % 11 {
	case 0:
		path, consent = pos+"/accounts", uuid.NewString()
	case 1:
		path, consent = pos+"/accounts/"+mypossim.GoodAccount+"/balances", uuid.NewString()
		header.Set("PSU-IP-Address", fmt.Sprintf("203.0.113.%d", i%250+1))
	case 2:
		path, consent = fmt.Sprintf("%s/accounts/%d/balances", pos, 50_000_000_000+i), uuid.NewString() // unknown to the bank
	case 3:
		path = wood + "/accounts"
	case 4:
		path = "/v1/aspsps/" + bank + "/accounts/" + url.PathEscape(hostileText(i)) + "/balances"
	case 5:
		path, consent = "/v1/aspsps/"+bank+"/accounts", url.PathEscape(hostileText(i))
	case 6:
		path = "/v1/aspsps/" + uuid.NewString() + "/accounts"
	case 7:
		path = "/" + url.PathEscape(hostileText(i)) + "/" + uuid.NewString()
	case 8:
		method, path = fmt.Sprintf("BREW%d", i), wood+"/accounts"
	case 9:
		path = wood + []string{"/unattended-access", "/cached-data"}[i/11%2]
		method = []string{http.MethodGet, http.MethodDelete}[i/11%2]
		if i%3 == 0 {
			header.Set("X-API-Key", uuid.NewString())
		}
	case 10: // which gets a status of its own
		path = "/v1/aspsps/" + mastercardsim.RiverBank + "/accounts"
		header.Set("PSU-IP-Address", "203.0.113.7")
	}
	header.Set("Consent-ID", consent)
	header.Set("Provider-Authorization", "Bearer "+mypossim.TokenPrefix+uuid.NewString())
	header.Set("User-Agent", hostileHeader(i))
	header.Set("X-Request-ID", uuid.NewString())
	header.Set("baggage", "consent="+uuid.NewString())
	req, err := http.NewRequestWithContext(ctx, method, api+path, nil)
	if err == nil {
		req.Header = header
		req.Host = fmt.Sprintf("h%d.example", i)
	}
	return req, err
}

func hostileHeader(i int) string { return hex.EncodeToString([]byte(hostileText(i))) }

// pour makes the requests from to to, some at a time, and returns how many were answered with each status.
func pour(t *testing.T, api string, from, to int) map[int]int {
	t.Helper()
	var next atomic.Int64
	next.Store(int64(from))
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	answered := map[int]int{}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for i := int(next.Add(1) - 1); i < to; i = int(next.Add(1) - 1) {
				req, err := seriesRequest(t.Context(), api, i)
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				mu.Lock()
				answered[resp.StatusCode]++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return answered
}

// linesOf is how many series a gateway shows.
func linesOf(t *testing.T, admin string) int {
	t.Helper()
	_, text := gatewaytest.Call(t, http.MethodGet, admin+"/metrics")
	n := 0
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if line := lines.Text(); line != "" && !strings.HasPrefix(line, "#") {
			n++
		}
	}
	return n
}

// everyStatus has River Bank answer requests for accounts with every status there can be in turn, those first that are
// registered.
type everyStatus struct{ answered atomic.Int64 }

func (e *everyStatus) front(provider string, simulator http.Handler) http.Handler {
	var all, others []int
	for status := 100; status <= 999; status++ {
		if http.StatusText(status) != "" {
			all = append(all, status)
		} else {
			others = append(others, status)
		}
	}
	all = append(all, others...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if provider != "mastercard" || !strings.HasSuffix(r.URL.Path, "/accounts") || !bytes.Contains(body, []byte(mastercardsim.RiverBank)) {
			simulator.ServeHTTP(w, r)
			return
		}
		status := all[int(e.answered.Add(1)-1)%len(all)]
		conn, _, err := http.NewResponseController(w).Hijack() // net/http answers none below 200 at last
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d Made Up\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status)
	})
}

// Ten thousand consents, accounts, ASPSPs, paths and methods make no series of their own, nor do the statuses of a bank that
// answers whatever it likes.
func TestSeriesDoNotGrow(t *testing.T) {
	var statuses everyStatus
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: statuses.front})
	g := gatewaytest.Serve(t, gatewaytest.ReplaceInConfig(t, w, `name: River Bank, provider: mastercard}`,
		`name: River Bank, provider: mastercard, breaker: {consecutiveFailures: 100000, minimumCalls: 100000}}`))
	p := prometheustest.Start(t, nil, g.Admin)
	all := fmt.Sprintf(`count({__name__=~".+", job=%q})`, prometheustest.Job)

	pour(t, g.API, 0, seriesWarm)
	p.AwaitScrape()
	warm, warmLines := int(p.Value(all)), linesOf(t, g.Admin)
	answered := pour(t, g.API, seriesWarm, seriesAll)
	p.AwaitScrape()
	grown, grownLines := int(p.Value(all)), linesOf(t, g.Admin)
	t.Logf("%d series after %d requests, %d after %d; answered with %v", warm, seriesWarm, grown, seriesAll, answered)
	if warm < 200 || grown > warm+seriesMore || grownLines > warmLines+seriesMore {
		t.Errorf("%d series and %d lines have become %d and %d", warm, warmLines, grown, grownLines)
	}
	if answered[http.StatusOK] < 2500 || answered[http.StatusNotFound] < 2000 || answered[http.StatusBadRequest] == 0 {
		t.Errorf("the requests do not get far: %v", answered)
	}
	if n := statuses.answered.Load(); n < 900 {
		t.Errorf("the bank answered %d statuses", n)
	}
	// No label of any metric has more values than there may be: ASPSPs times outcomes bound the series of each.
	for name, judge := range judges(t) {
		for _, sample := range p.Query(fmt.Sprintf(`group by (%[1]s) ({%[1]s!="", job=%q})`, name, prometheustest.Job)) {
			if !judge(sample.Labels[name]) {
				t.Errorf("%s has the value %q", name, sample.Labels[name])
			}
		}
	}
	if over := p.Query(`{otel_metric_overflow="true"}`); len(over) > 0 {
		t.Errorf("%v has overflown", over[0].Labels)
	}
}
