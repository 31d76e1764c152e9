package deploy_test

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ais-gateway/deploy"
	"ais-gateway/internal/certtest"
	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/prometheustest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// loadDashboards returns the dashboards in deploy.
func loadDashboards(t *testing.T) []deploy.Board {
	t.Helper()
	boards, err := deploy.Boards()
	if err != nil {
		t.Fatal(err)
	}
	return boards
}

// dashboardFixture is gateways under load, and a Prometheus that scrapes them and evaluates the
// rules.
type dashboardFixture struct {
	*testing.T
	redis      *redistest.Server
	gateways   []*gatewaytest.Process
	prometheus *prometheustest.Server
}

// TestDashboardsHaveData: a real Prometheus scrapes gateways under load. Each query of each panel,
// with its variables replaced as by Grafana, returns data, and each rule can be evaluated.
func TestDashboardsHaveData(t *testing.T) {
	w := newDashboardFixture(t)
	end := w.startLoad()
	defer end()
	for _, round := range []string{"a", "b"} { // the first event creates a series, the second one increases it
		w.triggerEvents(round)
		w.prometheus.AwaitScrape()
	}
	w.prometheus.Await("min(ais_redis_usable) == 1")

	for _, b := range loadDashboards(t) {
		fill := w.variableReplacer(b)
		for _, p := range b.Shown() {
			for _, q := range p.Targets {
				w.assertQuery(b.Title+", "+p.Title+" "+q.RefID, fill.Replace(q.Expr), q)
			}
		}
	}
	w.assertEventsVisible()
	w.assertRules()
}

// newDashboardFixture starts two gateways and Prometheus.
func newDashboardFixture(t *testing.T) *dashboardFixture {
	w := &dashboardFixture{T: t, redis: redistest.Start(t)}
	world := gatewaytest.NewSandboxOn(t, w.redis, sandbox.Options{})
	certificate, key := certtest.CA(t, "qwac").Write()
	config := gatewaytest.ReplaceInConfig(t, world,
		"name: River Bank, provider: mastercard}", "name: River Bank, provider: mastercard, breaker: {openFor: 500ms}}",
		"mypos: {", "mypos: {clientCertificateFile: '"+certificate+"', clientKeyFile: '"+key+"', ")
	for range 2 {
		w.gateways = append(w.gateways, gatewaytest.Serve(t, config, "GOMEMLIMIT=1GiB"))
	}
	w.prometheus = prometheustest.Start(t, []string{"../../deploy/helm/ais-gateway/files/rules.yaml"}, w.gateways[0].Admin, w.gateways[1].Admin)
	w.prometheus.AwaitScrape()
	return w
}

// get sends a request to a gateway and returns the status.
func (w *dashboardFixture) get(gateway int, path, consent string, header ...string) int {
	w.Helper()
	header = append([]string{"Consent-ID", consent}, header...)
	if strings.Contains(path, sandbox.MyPOS) {
		header = append(header, "Provider-Authorization", "Bearer "+mypossim.GoodToken)
	}
	resp, _ := gatewaytest.Call(w.T, http.MethodGet, w.gateways[gateway].API+"/v1/aspsps/"+path, header...)
	return resp.StatusCode
}

// aggregate sends an aggregation of the accounts and balances of a consent at Wood Bank.
func (w *dashboardFixture) aggregate(consent string) {
	w.Helper()
	gatewaytest.Post(w.T, w.gateways[0].API+"/v1/aggregations",
		`{"include":["balances"],"allowPartial":true,"sources":[{"aspspId":"`+mastercardsim.WoodBank+`","consentId":"`+consent+`"}]}`)
}

// startLoad sends ordinary requests to both gateways until end is called.
func (w *dashboardFixture) startLoad() (end func()) {
	stop := make(chan struct{})
	var running sync.WaitGroup
	for gateway := range w.gateways {
		running.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
				consent := fmt.Sprintf("%sload-%d-%d", mastercardsim.FreshConsent, gateway, n/20)
				w.get(gateway, mastercardsim.WoodBank+"/accounts", consent)
				w.get(gateway, mastercardsim.StoneBank+"/accounts", consent, "PSU-IP-Address", "203.0.113.7")
				w.get(gateway, sandbox.MyPOS+"/accounts", mypossim.GoodConsent, "PSU-IP-Address", "203.0.113.7")
			}
		})
	}
	return sync.OnceFunc(func() { close(stop); running.Wait() })
}

// triggerEvents causes the events that dashboards and alerts show, with new consents in each round.
func (w *dashboardFixture) triggerEvents(round string) {
	const attended, address = "PSU-IP-Address", "203.0.113.7"
	balances := func(bank string) string { return bank + "/accounts/" + mastercardsim.Account + "/balances" }
	// A list is cached, the other calls are used up, and the list is served stale.
	used := mastercardsim.FreshConsent + "used-up-" + round
	w.get(0, mastercardsim.WoodBank+"/accounts", used)
	for range 5 {
		w.get(1, balances(mastercardsim.WoodBank), used)
	}
	w.get(0, mastercardsim.WoodBank+"/accounts", used, "Cache-Control", "max-age=0")
	for range 3 { // one call is left
		w.get(0, balances(mastercardsim.WoodBank), mastercardsim.FreshConsent+"one-left-"+round)
	}
	for _, consent := range []string{"aggregated-", "one-left-", "used-up-"} { // with all slots, one, and none
		w.aggregate(mastercardsim.FreshConsent + consent + round)
	}
	// The bank reports its limit and refuses a consent. It fails until the breaker opens, and then
	// recovers.
	w.get(0, map[string]string{"a": mastercardsim.WoodBank, "b": mastercardsim.StoneBank}[round]+"/accounts", mastercardsim.ConsentExhausted)
	w.get(0, mastercardsim.WoodBank+"/accounts", mastercardsim.ConsentExpired, attended, address)
	for range 6 {
		w.get(0, mastercardsim.RiverBank+"/accounts", mastercardsim.ConsentServerError, attended, address)
	}
	gatewaytest.Eventually(w.T, "the bank is called again", func() bool {
		return w.get(0, mastercardsim.RiverBank+"/accounts", mastercardsim.FreshConsent+"river-"+round, attended, address) == http.StatusOK
	})
	w.get(0, mastercardsim.WoodBank+"/accounts", "", attended, address)
	// Redis does not respond for a while.
	w.redis.Pause()
	for n := range 2 {
		w.get(n, balances(mastercardsim.WoodBank), mastercardsim.FreshConsent+"paused-"+round)
		w.get(n, mastercardsim.RiverBank+"/accounts", mastercardsim.FreshConsent+"paused-"+round, attended, address)
	}
	w.redis.Resume()
	gatewaytest.Eventually(w.T, "unattended calls are counted again", func() bool {
		return w.get(0, mastercardsim.WoodBank+"/accounts", fmt.Sprintf("%sagain-%d", mastercardsim.FreshConsent, time.Now().UnixNano())) == http.StatusOK
	})
}

// variableReplacer returns a replacer of Grafana's variables: by all their values, and by intervals
// for 15 minutes.
func (w *dashboardFixture) variableReplacer(b deploy.Board) *strings.Replacer {
	w.Helper()
	oldnew := []string{"$__rate_interval", "5m", "$__range", "15m"}
	for _, v := range b.Templating.List {
		if v.Type != "query" {
			continue
		}
		metric, label, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(v.Query, "label_values("), ")"), ", ")
		if !ok {
			w.Fatalf("%s: %s is not a query for the values of a variable", b.Title, v.Query)
		}
		var values []string
		for _, s := range w.prometheus.Query(fmt.Sprintf("count by (%s) (%s)", label, strings.NewReplacer(oldnew...).Replace(metric))) {
			values = append(values, s.Labels[label])
		}
		if len(values) == 0 {
			w.Fatalf("%s: the variable %s has no values", b.Title, v.Name)
		}
		value := v.AllValue
		if value == "" {
			value = "(" + strings.Join(values, "|") + ")"
		}
		oldnew = append(oldnew, "$"+v.Name, value)
	}
	return strings.NewReplacer(oldnew...)
}

// assertQuery checks that a query returns data, over the last seconds if it is a range query, and
// exemplars if it shows them.
func (w *dashboardFixture) assertQuery(name, expr string, q deploy.Query) {
	w.Helper()
	if strings.Contains(expr, "$") {
		w.Errorf("%s: unknown variable: %s", name, expr)
		return
	}
	var samples []prometheustest.Sample
	var err error
	// On a busy machine a gateway may not export series for seconds, because Redis responds too
	// late.
	data := holdsWithinMinute(func() bool {
		samples, err = w.prometheus.TryQuery(expr)
		return err != nil || slices.ContainsFunc(samples, func(s prometheustest.Sample) bool { return !math.IsNaN(s.Point.Value) && !math.IsInf(s.Point.Value, 0) })
	})
	switch {
	case err != nil:
		w.Errorf("%s: %v in %s", name, err, expr)
		return
	case !data:
		w.Errorf("%s has no data: %v for %s", name, samples, expr)
	}
	if q.Range && !holdsWithinMinute(func() bool {
		now := time.Now()
		return len(w.prometheus.Range(expr, now.Add(-5*time.Second), now, time.Second)) > 0
	}) {
		w.Errorf("%s has no data over time: %s", name, expr)
	}
	if q.Exemplar && len(w.prometheus.Exemplars(expr)) == 0 {
		w.Errorf("%s has no exemplars: %s", name, expr)
	}
	for _, s := range samples { // the series must have the labels of the legend
		for part := range strings.SplitSeq(q.Legend, "{{") {
			if label, _, ok := strings.Cut(part, "}}"); ok && s.Labels[label] == "" && label != "error_type" {
				w.Errorf("%s: the series %v has no label %s for its legend", name, s.Labels, label)
			}
		}
	}
}

// assertEventsVisible checks that panels show the events of triggerEvents with a value above zero.
func (w *dashboardFixture) assertEventsVisible() {
	w.Helper()
	seen := map[string]float64{
		"Unattended access, Slots taken": 0, "Unattended access, Slots refused": 0, "Unattended access, Closed by the ASPSP": 0,
		"Unattended access, Counter unavailable": 0, "Unattended access, Reads that needed no slot": 0,
		"Unattended access, Units used up": 0, "Unattended access, Units about to run out": 0,
		"Unattended access, Units closed by the ASPSP": 0, "Unattended access, Closed by the bank": 0,
		"Unattended access, Sources by outcome": 0, "Unattended access, Slots of sources": 0,
		"Unattended access, Units, by what they have left": 0,
		"ASPSPs, Breaker opened":                           0, "ASPSPs, Share of old lists": 0, "ASPSPs, Share of calls that failed": 0,
		"Cache and Redis, Errors": 0, "Cache and Redis, Share of cache errors": 0, "Cache and Redis, Usable": 0,
		"Service, Errors by code": 0, "Service, Errors by origin": 0, "Service, Availability": 0, "Service, Memory": 0,
		"Service, Certificates end in": 0, "Service, Processor": 0,
	}
	for _, b := range loadDashboards(w.T) {
		fill := w.variableReplacer(b)
		for _, p := range b.Shown() {
			name := strings.TrimPrefix(b.Title, "AIS Gateway: ") + ", " + p.Title
			if _, ok := seen[name]; !ok {
				continue
			}
			holdsWithinMinute(func() bool {
				seen[name] = w.smallestMaximum(fill, p)
				return seen[name] > 0
			})
		}
	}
	for name, value := range seen {
		if !(value > 0) {
			w.Errorf("%s does not show the event", name)
		}
	}
}

// smallestMaximum returns the smallest of the maxima of a panel's queries.
func (w *dashboardFixture) smallestMaximum(fill *strings.Replacer, p deploy.Panel) float64 {
	w.Helper()
	least := math.Inf(1)
	for _, q := range p.Targets {
		greatest := 0.0
		for _, s := range w.prometheus.Query(fill.Replace(q.Expr)) {
			if s.Point.Value > greatest { // false for NaN
				greatest = s.Point.Value
			}
		}
		least = min(least, greatest)
	}
	return least
}

// holdsWithinMinute waits until a condition holds, and returns false after a minute.
func holdsWithinMinute(holds func() bool) bool {
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// assertRules checks that all rules can be evaluated, that recording rules have data, and that a
// limit reported by a bank fires an alert.
func (w *dashboardFixture) assertRules() {
	w.Helper()
	for _, r := range w.prometheus.Rules() {
		if r.Health != "ok" {
			w.Errorf("%s: %s", r.Name, r.LastError)
		}
	}
	alerts, records, err := deploy.Rules()
	if err != nil {
		w.Fatal(err)
	}
	for _, r := range records {
		w.prometheus.Await(r.Record + " >= 0")
	}
	for _, a := range alerts {
		if _, err := w.prometheus.TryQuery(a.Expr); err != nil {
			w.Errorf("%s: %v", a, err)
		}
	}
	w.prometheus.Await(`ALERTS{alertname="AISGatewayOverLimit", alertstate="firing", ais_aspsp_id="` + mastercardsim.WoodBank + `"}`)
	for _, a := range w.prometheus.Alerts() {
		if name := a.Labels["alertname"]; a.State == "firing" && slices.Contains([]string{"AISGatewayAbsent", "AISGatewayDown", "AISGatewayInternalErrors"}, name) {
			w.Errorf("%s fires", name)
		}
	}
}
