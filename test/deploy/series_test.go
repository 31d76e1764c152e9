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
	seriesWarmUp   = 1200   // requests after which nearly all series exist
	seriesRequests = 10_000 // requests, each with new values, for example of consent and account
	// seriesTolerance is how many series may be added later: an outcome that the machine's load
	// causes has about 20. Each kind of request is sent 900 times, so a label with a value of the
	// request would add at least 900.
	seriesTolerance = 200
)

// hostileText returns a text that breaks labels, lines or templates that do not escape it,
// different for each i.
func hostileText(i int) string {
	wild := []string{
		`",le="0.1`, `{accountId}`, `..`, `%2e%2e`, "\u202e", `\`, `"`, `}`, `ключ`, `<script>`, `' OR 1=1`, `$(id)`, strings.Repeat("a", 900), "#", "?x=", "a/b",
	}
	return fmt.Sprintf("%s%d", wild[i%len(wild)], i)
}

// seriesRequest returns the request with an index. There are eleven kinds of requests, in turn.
func seriesRequest(ctx context.Context, api string, i int) (*http.Request, error) {
	method, path, body, header := http.MethodGet, "", "", http.Header{"X-Api-Key": {sandbox.Key}}
	bank := aspsps[i/11%len(aspsps)]
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
		if i/11%2 == 0 {
			method, path, body = http.MethodPost, "/v1/aggregations", aggregationBody()
			header.Set("Content-Type", "application/json")
		}
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
	case 10: // the response has another status each time
		path = "/v1/aspsps/" + mastercardsim.RiverBank + "/accounts"
		header.Set("PSU-IP-Address", "203.0.113.7")
	}
	if body == "" {
		header.Set("Consent-ID", consent)
		header.Set("Provider-Authorization", "Bearer "+mypossim.TokenPrefix+uuid.NewString())
	}
	header.Set("User-Agent", hostileHeader(i))
	header.Set("X-Request-ID", uuid.NewString())
	header.Set("baggage", "consent="+uuid.NewString())
	req, err := http.NewRequestWithContext(ctx, method, api+path, strings.NewReader(body))
	if err == nil {
		req.Header = header
		req.Host = fmt.Sprintf("h%d.example", i)
	}
	return req, err
}

// aggregationBody returns the body of an aggregation of two sources, of which one has an unknown ASPSP.
func aggregationBody() string {
	return fmt.Sprintf(`{"include":["balances"],"allowPartial":true,"sources":[{"ref":%q,"aspspId":%q,"consentId":%q,"accountIds":[%q]},`+
		`{"aspspId":%q,"consentId":%q}]}`, uuid.NewString(), mastercardsim.WoodBank, mastercardsim.FreshConsent+uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString())
}

func hostileHeader(i int) string { return hex.EncodeToString([]byte(hostileText(i))) }

// sendSeriesRequests sends the requests with index from to to-1, eight at a time, and returns the
// number of responses by status.
func sendSeriesRequests(t *testing.T, api string, from, to int) map[int]int {
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

// countSeries returns the number of series in the gateway's /metrics.
func countSeries(t *testing.T, admin string) int {
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

// statusCycle lets River Bank respond to account requests with each possible status in turn,
// registered ones first.
type statusCycle struct{ responses atomic.Int64 }

func (e *statusCycle) front(provider string, simulator http.Handler) http.Handler {
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
		status := all[int(e.responses.Add(1)-1)%len(all)]
		conn, _, err := http.NewResponseController(w).Hijack() // net/http cannot send a final status below 200
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d Made Up\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status)
	})
}

// TestSeriesDoNotGrow: ten thousand consents, accounts, ASPSPs, paths and methods add no series,
// and neither do the statuses of a bank that responds with arbitrary ones.
func TestSeriesDoNotGrow(t *testing.T) {
	var statuses statusCycle
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: statuses.front})
	g := gatewaytest.Serve(t, gatewaytest.ReplaceInConfig(t, w, `name: River Bank, provider: mastercard}`,
		`name: River Bank, provider: mastercard, breaker: {consecutiveFailures: 100000, minimumCalls: 100000}}`))
	p := prometheustest.Start(t, nil, g.Admin)
	all := fmt.Sprintf(`count({__name__=~".+", job=%q})`, prometheustest.Job)

	sendSeriesRequests(t, g.API, 0, seriesWarmUp)
	p.AwaitScrape()
	warm, warmLines := int(p.Value(all)), countSeries(t, g.Admin)
	answered := sendSeriesRequests(t, g.API, seriesWarmUp, seriesRequests)
	p.AwaitScrape()
	grown, grownLines := int(p.Value(all)), countSeries(t, g.Admin)
	t.Logf("%d series after %d requests, %d after %d; answered with %v", warm, seriesWarmUp, grown, seriesRequests, answered)
	if warm < 200 || grown > warm+seriesTolerance || grownLines > warmLines+seriesTolerance {
		t.Errorf("%d series and %d lines grew to %d and %d", warm, warmLines, grown, grownLines)
	}
	if answered[http.StatusOK] < 2500 || answered[http.StatusNotFound] < 2000 || answered[http.StatusBadRequest] == 0 {
		t.Errorf("too few requests reach the handlers: %v", answered)
	}
	if n := p.Value("sum(ais_aggregation_sources_total)"); n < 800 {
		t.Errorf("%v sources of aggregations are counted, want at least 800", n)
	}
	if n := statuses.responses.Load(); n < 900 {
		t.Errorf("the bank sent %d statuses, want at least 900", n)
	}
	// Each label has only allowed values, so that ASPSPs times outcomes bound the number of series
	// of each metric.
	for name, judge := range labelChecks(t) {
		for _, sample := range p.Query(fmt.Sprintf(`group by (%[1]s) ({%[1]s!="", job=%q})`, name, prometheustest.Job)) {
			if !judge(sample.Labels[name]) {
				t.Errorf("%s has the value %q", name, sample.Labels[name])
			}
		}
	}
	if over := p.Query(`{otel_metric_overflow="true"}`); len(over) > 0 {
		t.Errorf("%v has overflowed", over[0].Labels)
	}
}
