package deploy_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/certtest"
	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/prometheustest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// Consents at myPOS for which the fixture causes a failure.
const (
	breaksOnce   = "0000b0b0-0000-4000-8000-000000000001" // the first call's connection breaks
	breaksAlways = "0000b0b0-0000-4000-8000-000000000002" // every call's does
	returnsHTML  = "0000b0b0-0000-4000-8000-000000000003" // the response is not JSON
	hangs        = "0000b0b0-0000-4000-8000-000000000004" // no response until the caller has left
)

// fixture is three gateways that serve a script of requests, and export telemetry to a Prometheus and
// a collector.
type fixture struct {
	*testing.T
	redis      *redistest.Server
	sandbox    *sandbox.Sandbox
	gateways   []*gatewaytest.Process // one with defaults, one with low limits, one with TLS
	collector  *collector
	prometheus *prometheustest.Server
	client     *http.Client
	requests   []scriptedRequest

	mu      sync.Mutex
	broken  bool                // whether breaksOnce has broken
	arrived chan struct{}       // calls that hang
	leaked  map[string][]string // headers of traces that reached a provider, with their values
	calls   int                 // that reached a provider
}

// scriptedRequest is a request of the script, and its outcome.
type scriptedRequest struct {
	gateway             int
	method, path        string
	header              []string // name and value in turn
	trace, span, sample string   // of the caller
	status              int
	code                string
}

// traceHeaders are the headers in which a trace could be propagated.
var traceHeaders = []string{
	"Traceparent", "Tracestate", "Baggage", "B3", "X-B3-Traceid", "X-B3-Spanid", "X-B3-Sampled", "Uber-Trace-Id",
	"X-Amzn-Trace-Id", "Ot-Tracer-Traceid", "Ot-Tracer-Spanid", "Ot-Tracer-Sampled",
}

// newFixture starts simulators, Redis, a collector, three gateways and Prometheus.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	s := &fixture{T: t, redis: redistest.Start(t), leaked: map[string][]string{}, arrived: make(chan struct{}, 10)}
	s.sandbox = gatewaytest.NewSandboxOn(t, s.redis, sandbox.Options{Front: s.front})
	s.collector = startCollector(t)
	certificate, key := s.writeCertificate()
	calm := func(text string) string { // breakers stay closed, so that each request reaches its bank; only that of River Bank may open
		for _, id := range aspsps {
			if id != mastercardsim.RiverBank {
				text = strings.Replace(text, "{id: "+id+",", "{id: "+id+", breaker: {consecutiveFailures: 1000, minimumCalls: 1000},", 1)
			}
		}
		text = strings.Replace(text, "{id: "+sandbox.ElmBank+",", "{id: "+sandbox.ElmBank+", psuAddressRequired: true,", 1)
		sum := sha256.Sum256([]byte("often"))
		return strings.Replace(text, "providers:\n", "    - {name: often, sha256: "+hex.EncodeToString(sum[:])+
			", scopes: [\"accounts:read\"], rateLimit: {perSecond: 0.001, burst: 1}}\nproviders:\n", 1)
	}
	env := []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + s.collector.http, "OTEL_METRIC_EXPORT_INTERVAL=500", "OTEL_BSP_SCHEDULE_DELAY=200",
		"OTEL_BLRP_SCHEDULE_DELAY=200", "GOMEMLIMIT=1GiB",
	}
	serve := func(change func(text string) string, env ...string) {
		config := gatewaytest.EditConfig(t, s.sandbox, func(text string) string { return change(calm(text)) })
		s.gateways = append(s.gateways, gatewaytest.Serve(t, config, env...))
	}
	serve(func(text string) string { return text }, env...)
	serve(func(text string) string {
		return strings.Replace(text, "server: {", "server: {limits: {inFlight: 3, perClient: 2, perASPSP: 1}, ", 1) +
			"audit: {output: file, file: /dev/full}\n"
	}, append(env, "OTEL_PROPAGATORS=baggage,b3,b3multi,jaeger,xray,ottrace,tracecontext")...)
	serve(func(text string) string {
		return strings.Replace(text, "server: {", "server: {tls: {certificateFile: '"+certificate+"', keyFile: '"+key+"'}, ", 1)
	}, env...)
	var admins []string
	for _, g := range s.gateways {
		admins = append(admins, g.Admin)
	}
	s.prometheus = prometheustest.Start(t, nil, admins...)
	return s
}

// writeCertificate writes a certificate of the API and its key to files. The fixture's client trusts
// it.
func (s *fixture) writeCertificate() (certificateFile, keyFile string) {
	s.Helper()
	ca := certtest.CA(s.T, "fixture")
	s.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: ca.Client(), MaxIdleConnsPerHost: 16}}
	s.Cleanup(s.client.CloseIdleConnections)
	return ca.Issue("api").Write()
}

// front wraps a provider's simulator. It records propagated trace headers and causes the failures
// of the special consents.
func (s *fixture) front(_ string, bank http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		consent := r.Header.Get("Consent-ID")
		s.mu.Lock()
		s.calls++
		for _, name := range traceHeaders {
			if values := r.Header.Values(name); values != nil {
				s.leaked[name] = append(s.leaked[name], values...)
			}
		}
		cut := consent == breaksAlways || consent == breaksOnce && !s.broken
		s.broken = s.broken || consent == breaksOnce
		s.mu.Unlock()
		switch {
		case cut:
			panic(http.ErrAbortHandler)
		case consent == returnsHTML:
			_, _ = io.WriteString(w, "<html>")
		case consent == hangs:
			s.arrived <- struct{}{}
			<-r.Context().Done()
		default:
			bank.ServeHTTP(w, r)
		}
	})
}

// send sends a request of the script in a new sampled trace, and records its outcome.
func (s *fixture) send(gateway int, method, path string, header ...string) scriptedRequest {
	s.Helper()
	return s.sendWith(s.Context(), "01", gateway, method, path, "", header...)
}

// sendWith is send with a context, the flags of the trace, and a body.
func (s *fixture) sendWith(ctx context.Context, sample string, gateway int, method, path, body string, header ...string) scriptedRequest {
	s.Helper()
	a := scriptedRequest{gateway: gateway, method: method, path: path, header: header, trace: randomHex(s.T, 16), span: randomHex(s.T, 8), sample: sample}
	base := s.gateways[gateway].API
	if gateway == 2 {
		base = "https" + strings.TrimPrefix(base, "http")
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	for i, set := 0, append([]string{
		"X-API-Key", sandbox.Key,
		"traceparent", "00-" + a.trace + "-" + a.span + "-" + sample,
		"tracestate", "fixture=Zwitscher", "baggage", "fixture=Zwitscher",
		"b3", a.trace + "-" + a.span + "-1", "X-B3-TraceId", a.trace, "X-B3-SpanId", a.span, "X-B3-Sampled", "1",
		"uber-trace-id", a.trace + ":" + a.span + ":0:1", "X-Amzn-Trace-Id", "Root=1-" + a.trace[:8] + "-" + a.trace[8:] + ";Parent=" + a.span + ";Sampled=1",
		"ot-tracer-traceid", a.trace[16:], "ot-tracer-spanid", a.span, "ot-tracer-sampled", "true",
	}, header...); i+1 < len(set); i += 2 {
		req.Header.Set(set[i], set[i+1])
	}
	if resp, err := s.client.Do(req); err == nil {
		var problem struct{ Code string }
		_ = json.NewDecoder(resp.Body).Decode(&problem) // only problems have a code
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		a.status, a.code = resp.StatusCode, problem.Code
	} else if ctx.Err() != nil {
		a.status, a.code = 499, "CANCELED" // as the telemetry has it for a caller that left
	} else {
		s.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, a)
	return a
}

// randomHex returns n random bytes in hexadecimal.
func randomHex(t *testing.T, n int) string {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	b[0] |= 1 // neither a trace's nor a span's id may be all zeros
	return hex.EncodeToString(b)
}

const userAddress = "203.0.113.7" // a user's address

// run runs the script: each route, and each outcome that providers, Redis, limits, secrets and
// callers can cause.
func (s *fixture) run() {
	s.Helper()
	s.runConsents()
	s.runRoutes()
	s.runAggregations()
	s.runLimits()
	s.runSecrets()
	s.runRedis()
	reached := map[string]bool{}
	for _, a := range s.requests {
		reached[a.code] = true
	}
	for _, k := range scriptedKinds() {
		if !reached[k] {
			s.Errorf("the script does not reach %s, but %v", k, slices.Sorted(maps.Keys(reached)))
		}
	}
}

// runConsents requests accounts and balances with each consent that selects a response of a
// simulator.
func (s *fixture) runConsents() {
	atBanks := []string{
		mastercardsim.Consent, mastercardsim.ConsentMany, mastercardsim.ConsentHostile, mastercardsim.ConsentExpired,
		mastercardsim.ConsentRevoked, mastercardsim.ConsentUnlinked, mastercardsim.ConsentExhausted, mastercardsim.ConsentNewSCA,
		mastercardsim.ConsentMalformed, mastercardsim.ConsentProviderError, mastercardsim.ConsentSeveral,
		mastercardsim.ConsentUnauthorized, mastercardsim.ConsentForbidden, mastercardsim.ConsentThrottled,
		mastercardsim.ConsentServerError, mastercardsim.ConsentUnavailable, mastercardsim.ConsentTimeout,
	}
	atMyPOS := []string{
		mypossim.GoodConsent, mypossim.ManyConsent, mypossim.HostileConsent, mypossim.Consent401ConsentExpired,
		mypossim.Consent401ConsentInvalid, mypossim.Consent401Bare, mypossim.Consent401Certificate, mypossim.Consent403ConsentUnknown,
		mypossim.Consent404Unknown, mypossim.Consent404Bare, mypossim.Consent429Exceeded, mypossim.Consent429Quota,
		mypossim.Consent429Throttled, mypossim.Consent400NeedsAddress, mypossim.Consent400Format, mypossim.Consent500,
		mypossim.Consent503, mypossim.Consent504, mypossim.Consent400Several, breaksOnce, breaksAlways, returnsHTML,
	}
	n := 0
	both := func(bank, account, consent string, header ...string) {
		header = append([]string{"Consent-ID", consent}, header...)
		for _, path := range []string{"/accounts", "/accounts/" + account + "/balances"} {
			s.send(n%3, http.MethodGet, "/v1/aspsps/"+bank+path, append(header, "PSU-IP-Address", userAddress)...)
			s.send(n%3, http.MethodGet, "/v1/aspsps/"+bank+path, header...)
			n++
		}
	}
	for i, consent := range atBanks {
		both([]string{mastercardsim.WoodBank, mastercardsim.StoneBank}[i%2], mastercardsim.Account, consent)
	}
	for _, consent := range atMyPOS {
		both(sandbox.MyPOS, mypossim.GoodAccount, consent, "Provider-Authorization", "Bearer "+mypossim.GoodToken)
	}
	for range 6 { // River Bank's breaker opens
		s.send(0, http.MethodGet, "/v1/aspsps/"+mastercardsim.RiverBank+"/accounts", "Consent-ID", mastercardsim.ConsentUnavailable, "PSU-IP-Address", userAddress)
	}
	for range 5 { // one more than the limit
		s.send(2, http.MethodGet, "/v1/aspsps/"+mastercardsim.WoodBank+"/accounts/"+mastercardsim.Account+"/balances", "Consent-ID", mastercardsim.FreshConsent+"five")
	}
}

// runRoutes sends valid and invalid requests to each route, and to unknown ones.
func (s *fixture) runRoutes() {
	wood := "/v1/aspsps/" + mastercardsim.WoodBank
	fresh := mastercardsim.FreshConsent + "routes"
	for _, a := range [][]string{
		{"GET", "/v1/aspsps"},
		{"GET", wood},
		{"GET", "/openapi.yaml"},
		{"GET", wood + "/accounts", "Consent-ID", fresh, "Cache-Control", "only-if-cached"},
		{"GET", wood + "/accounts", "Consent-ID", fresh},
		{"GET", wood + "/accounts", "Consent-ID", fresh},
		{"GET", wood + "/accounts", "Consent-ID", fresh, "PSU-IP-Address", userAddress, "Cache-Control", "no-cache"},
		{"GET", wood + "/unattended-access", "Consent-ID", fresh},
		{"DELETE", wood + "/cached-data", "Consent-ID", fresh},
		{"GET", wood + "/accounts"},
		{"GET", "/v1/aspsps/" + sandbox.ElmBank + "/accounts", "Consent-ID", fresh},
		{"GET", "/v1/aspsps/" + uuid.NewString() + "/accounts", "Consent-ID", fresh},
		{"GET", "/v1/nowhere"},
		{"GET", "/"},
		{"POST", wood + "/accounts", "Consent-ID", fresh},
		{"BREW", wood + "/accounts", "Consent-ID", fresh},
		{"GET", wood, "X-API-Key", "wrong"},
		{"GET", wood + "/accounts", "X-API-Key", "often", "Consent-ID", fresh},
		{"GET", wood + "/accounts", "X-API-Key", "often", "Consent-ID", fresh},
		{"GET", wood + "/accounts/" + mastercardsim.Account + "/balances", "X-API-Key", "often", "Consent-ID", fresh},
	} {
		s.send(0, a[0], a[1], a[2:]...)
	}
	s.send(2, http.MethodGet, wood+"/accounts/"+mastercardsim.Account+"/balances", "X-API-Key", "often", "Consent-ID", fresh) // its only scope is accounts:read
	s.sendWith(s.Context(), "00", 0, http.MethodGet, wood+"/accounts", "", "Consent-ID", fresh, "PSU-IP-Address", userAddress)
}

// runAggregations sends an aggregation that succeeds, and one of which no source succeeds.
func (s *fixture) runAggregations() {
	s.Helper()
	good := `{"aspspId":"` + mastercardsim.WoodBank + `","consentId":"` + mastercardsim.FreshConsent + `aggregated"}`
	bad := `{"aspspId":"` + mastercardsim.StoneBank + `","consentId":"` + mastercardsim.ConsentProviderError + `"}`
	for sources, status := range map[string]int{good + "," + bad: http.StatusOK, bad: http.StatusBadGateway} {
		body := `{"include":["balances"],"allowPartial":true,"sources":[` + sources + `]}`
		if a := s.sendWith(s.Context(), "01", 0, http.MethodPost, "/v1/aggregations", body, "Content-Type", "application/json"); a.status != status {
			s.Errorf("an aggregation gets %d %s, want %d", a.status, a.code, status)
		}
	}
}

// runLimits sends a request beyond perASPSP while another call hangs until its caller leaves.
func (s *fixture) runLimits() {
	s.Helper()
	list := "/v1/aspsps/" + sandbox.MyPOS + "/accounts"
	header := func(consent string) []string {
		return []string{"Consent-ID", consent, "PSU-IP-Address", userAddress, "Provider-Authorization", "Bearer " + mypossim.GoodToken}
	}
	ctx, leave := context.WithCancel(s.Context())
	defer leave()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		s.sendWith(ctx, "01", 1, http.MethodGet, list, "", header(hangs)...)
	}()
	select {
	case <-s.arrived:
	case <-time.After(30 * time.Second):
		s.Fatal("the hanging call does not arrive")
	}
	if a := s.send(1, http.MethodGet, list, header(uuid.NewString())...); a.code != "OVERLOADED" {
		s.Errorf("a call beyond the limit gets %d %s", a.status, a.code)
	}
	leave()
	<-gone
}

// runSecrets makes a secret invalid, and valid again.
func (s *fixture) runSecrets() {
	s.Helper()
	file := filepath.Join(filepath.Dir(s.sandbox.ConfigFile), "mypos-key")
	good, err := os.ReadFile(file)
	if err != nil {
		s.Fatal(err)
	}
	for _, step := range []struct {
		text []byte
		expr string // has a sample for each gateway after the step
	}{
		{nil, `ais_secrets_stale{part="mypos"} == 1`},
		{append(good, '\n'), `ais_secrets_stale{part="mypos"} == 0 and ais_secrets_reloads_total{part="mypos", outcome="ok"} > 0`},
	} {
		if err := os.WriteFile(file, step.text, 0o600); err != nil {
			s.Fatal(err)
		}
		waitFor(s.T, step.expr, func() error {
			if n := len(s.prometheus.Query(strings.Replace(step.expr, " and ", " and ignoring(outcome) ", 1))); n != len(s.gateways) {
				return fmt.Errorf("%d gateways", n)
			}
			return nil
		})
	}
}

// runRedis stops Redis for a while.
func (s *fixture) runRedis() {
	s.Helper()
	s.redis.Stop()
	wood := "/v1/aspsps/" + mastercardsim.WoodBank + "/accounts"
	for i := range s.gateways {
		s.send(i, http.MethodGet, wood, "Consent-ID", mastercardsim.FreshConsent+"without", "PSU-IP-Address", userAddress)
		if a := s.send(i, http.MethodGet, wood, "Consent-ID", mastercardsim.FreshConsent+"without"); a.code != "COUNTER_UNAVAILABLE" {
			s.Errorf("without Redis an unattended request gets %d %s", a.status, a.code)
		}
		if a := s.send(i, http.MethodDelete, strings.TrimSuffix(wood, "/accounts")+"/cached-data", "Consent-ID", mastercardsim.FreshConsent+"without"); a.code != "DELETION_UNCONFIRMED" {
			s.Errorf("without Redis a deletion gets %d %s", a.status, a.code)
		}
	}
	s.redis.Restart()
	waitFor(s.T, "Redis is used again", func() error {
		if a := s.send(0, http.MethodGet, wood, "Consent-ID", mastercardsim.FreshConsent+"again"); a.status != http.StatusOK {
			return fmt.Errorf("%d %s", a.status, a.code)
		}
		return nil
	})
}

// waitFor waits until holds returns nil. It fails the test with the last error after three minutes.
func waitFor(t *testing.T, what string, holds func() error) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s: %v", what, err)
		}
	}
}
