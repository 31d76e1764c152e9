package prometheustest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

const metrics = `# HELP took_seconds how long it took
# TYPE took_seconds histogram
took_seconds_bucket{le="1.0"} %[1]d # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.5
took_seconds_bucket{le="+Inf"} %[1]d
took_seconds_sum %[1]d
took_seconds_count %[1]d
# HELP calls how many were made
# TYPE calls counter
calls_total{to="a"} %[1]d
# EOF
`

const rules = `groups:
  - name: calls
    rules:
      - {record: "calls:sum", expr: sum(calls_total)}
      - {alert: Called, expr: calls_total > 3, labels: {severity: page}, annotations: {summary: "calls to {{ $labels.to }}"}}
      - {alert: Never, expr: calls_total < 0}
`

func TestPrometheus(t *testing.T) {
	t.Parallel()
	var scrapes atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
		fmt.Fprintf(w, metrics, scrapes.Add(1))
	}))
	defer target.Close()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p := Start(t, []string{file}, target.URL)

	before := scrapes.Load()
	p.AwaitScrape()
	got := p.Query("calls_total")
	if len(got) != 1 || got[0].Labels["to"] != "a" || got[0].Labels["job"] != Job || got[0].Labels["__name__"] != "calls_total" ||
		got[0].Point.Value <= float64(before) || got[0].Point.Time.Before(began) {
		t.Errorf("got %v, there were %d before", got, before)
	}
	if p.Value("scalar(vector(2))") != 2 || p.Value(`sum(up)`) != 1 {
		t.Error("scalars and vectors are not read")
	}
	if _, err := p.TryQuery("sum("); err == nil {
		t.Error("what is no expression is taken")
	}
	if values := p.Range("calls_total", began, time.Now(), 10*time.Millisecond); len(values) != 1 || len(values[0].Points) < 3 {
		t.Errorf("over time: %v", values)
	}
	if e := p.Exemplars("took_seconds_bucket"); len(e) == 0 || e[0].Labels["trace_id"] != "4bf92f3577b34da6a3ce929d0e0e4736" ||
		e[0].Value != 0.5 || e[0].Series["le"] != "1.0" {
		t.Errorf("exemplars: %v", e)
	}
	if m := p.Metadata()["took_seconds"]; len(m) != 1 || m[0] != (Metadata{Type: "histogram", Help: "how long it took"}) {
		t.Errorf("metadata: %v", m)
	}

	p.Await(`ALERTS{alertname="Called", alertstate="firing"}`)
	p.Await("calls:sum > 0")
	states := map[string]string{}
	for _, rule := range p.Rules() {
		states[rule.Group+" "+rule.Type+" "+rule.Name+" "+rule.Health] = rule.State
	}
	want := map[string]string{"calls recording calls:sum ok": "", "calls alerting Called ok": "firing", "calls alerting Never ok": "inactive"}
	if fmt.Sprint(states) != fmt.Sprint(want) {
		t.Errorf("rules: %v", states)
	}
	alerts := p.Alerts()
	if len(alerts) != 1 || alerts[0].State != "firing" || alerts[0].Labels["severity"] != "page" || alerts[0].Annotations["summary"] != "calls to a" {
		t.Errorf("alerts: %v", alerts)
	}
	if targets := p.Targets(); len(targets) != 1 || targets[0].URL != target.URL+"/metrics" || targets[0].Labels["job"] != Job {
		t.Errorf("targets: %v", targets)
	}
}

func TestConfigure(t *testing.T) {
	if _, err := configure([]string{"missing.yaml"}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v for a file that is missing", err)
	}
	text, err := configure(nil, []string{"http://127.0.0.1:1", "127.0.0.1:2"})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"global":{"evaluation_interval":"500ms","scrape_interval":"500ms","scrape_timeout":"500ms"},"rule_files":[],` +
		`"scrape_configs":[{"job_name":"ais-gateway","static_configs":[{"targets":["127.0.0.1:1","127.0.0.1:2"]}]}]}`
	if string(text) != want {
		t.Error(string(text))
	}
}

// It is the process itself that is stopped, not a shell before it.
func TestEnds(t *testing.T) {
	var url string
	t.Run("with its test", func(t *testing.T) { url = Start(t, nil).URL })
	resp, err := http.Get(url + "/-/ready")
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		t.Error("Prometheus is there after its test")
	}
}
