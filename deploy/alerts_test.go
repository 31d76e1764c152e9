package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"ais-gateway/deploy"
)

const runbooks = "../docs/runbooks.md"

func rulesOf(t *testing.T) (alerts, records []deploy.Rule) {
	t.Helper()
	alerts, records, err := deploy.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return alerts, records
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func ruleTests(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("prometheus/*_test.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no tests of rules: %v", err)
	}
	return files
}

// TestAlertsHaveBothCases: each alert has a test case in which it fires and one in which it does
// not.
func TestAlertsHaveBothCases(t *testing.T) {
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, file := range ruleTests(t) {
		var cases struct {
			Tests []struct {
				Rules []struct {
					Name   string `yaml:"alertname"`
					Alerts []struct {
						Labels map[string]string `yaml:"exp_labels"`
					} `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		readYAML(t, file, &cases)
		alerts, _ := rulesOf(t)
		for _, test := range cases.Tests {
			for _, r := range test.Rules {
				fired := map[string]bool{}
				for _, a := range r.Alerts {
					fired[deploy.Rule{Alert: r.Name, Labels: a.Labels}.String()] = true
				}
				for _, a := range alerts {
					if a.Alert == r.Name {
						fires[a.String()] = fires[a.String()] || fired[a.String()]
						silent[a.String()] = silent[a.String()] || !fired[a.String()]
					}
				}
			}
		}
	}
	alerts, _ := rulesOf(t)
	for _, a := range alerts {
		if !fires[a.String()] || !silent[a.String()] {
			t.Errorf("%s: there is a case in which it fires: %t, in which it does not: %t", a, fires[a.String()], silent[a.String()])
		}
	}
}

// TestAlertsHaveRunbooks: each alert has a summary, a description and the URL of its section in the
// runbooks. Each section belongs to an alert and has all parts.
func TestAlertsHaveRunbooks(t *testing.T) {
	page, err := os.ReadFile(runbooks)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, section := range strings.Split(string(page), "\n## ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		if strings.HasPrefix(title, "AISGateway") {
			sections[title] = text
		}
	}
	alerts, _ := rulesOf(t)
	named := map[string]bool{}
	for _, a := range alerts {
		named[a.Alert] = true
		if s := a.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s: severity is %q", a, s)
		}
		if a.Annotations["summary"] == "" || strings.Count(a.Annotations["description"], ". ") != 0 || !strings.HasSuffix(a.Annotations["description"], ".") {
			t.Errorf("%s: the summary is %q, the description %q", a, a.Annotations["summary"], a.Annotations["description"])
		}
		if want := "https://runbooks.example.com/ais-gateway#" + strings.ToLower(a.Alert); a.Annotations["runbook_url"] != want {
			t.Errorf("%s: the runbook URL is %q, want %q", a, a.Annotations["runbook_url"], want)
		}
		if !strings.Contains(sections[a.Alert], a.Labels["severity"]) {
			t.Errorf("%s: the section of the runbooks does not contain the severity %s", a, a.Labels["severity"])
		}
	}
	for title, text := range sections {
		if !named[title] {
			t.Errorf("%s: there is no alert of that name", title)
		}
		for _, part := range []string{"**For callers**", "**Look at**", "**Do**", "**Over**"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: the part %s is missing", title, part)
			}
		}
	}
	for name := range named {
		if sections[name] == "" {
			t.Errorf("%s has no section in the runbooks", name)
		}
	}
}

// TestRunbooksNamePanels: the panels that runbooks name exist on the named boards.
func TestRunbooksNamePanels(t *testing.T) {
	page, err := os.ReadFile(runbooks)
	if err != nil {
		t.Fatal(err)
	}
	titles := map[string]bool{}
	for _, b := range boardsOf(t) {
		for _, p := range b.Shown() {
			titles[strings.TrimPrefix(b.Title, "AIS Gateway: ")+", "+p.Title] = true
		}
	}
	named := regexp.MustCompile(`panel \*([^*]+)\*`).FindAllStringSubmatch(strings.Join(strings.Fields(string(page)), " "), -1)
	if len(named) < 20 {
		t.Errorf("only %d panels are named", len(named))
	}
	for _, n := range named {
		if !titles[n[1]] {
			t.Errorf("there is no panel %q", n[1])
		}
	}
}

// TestExpressionsUseKnownMetrics: every metric and label of the rules and dashboards is documented
// in docs/telemetry.md.
func TestExpressionsUseKnownMetrics(t *testing.T) {
	known := pageMetrics(t)
	alerts, records := rulesOf(t)
	exprs := map[string]string{}
	for _, r := range records {
		by := exprLabels.FindStringSubmatch(r.Expr)
		if by == nil {
			t.Fatalf("%s does not name its labels", r.Record)
		}
		known[r.Record] = strings.Split(strings.ReplaceAll(by[1], " ", ""), ",")
		exprs[r.Record] = r.Expr
	}
	for _, a := range alerts {
		exprs[a.String()] = a.Expr
	}
	for _, b := range boardsOf(t) {
		for _, p := range b.Shown() {
			for _, q := range p.Targets {
				exprs[b.Title+", "+p.Title+" "+q.RefID] = q.Expr
			}
		}
	}
	for name, expr := range exprs {
		if err := checkMetrics(expr, known); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for expr, fault := range map[string]string{
		`sum(rate(ais_cache_result_total[5m]))`:                          "ais_cache_result_total",
		`ais_cache_results_total{outcome="stale"}`:                       "outcome",
		`sum by (part) (ais_cache_results_total)`:                        "part",
		`ais_breaker_state_bucket`:                                       "ais_breaker_state_bucket",
		`up == 0 and on (job, client) ais_audit_enabled{job=~"$job"}`:    "client",
		`job:ais_requests_failed:ratio_rate4h > 1`:                       "job:ais_requests_failed:ratio_rate4h",
		`sum by (ais_aspsp_id) (job:ais_requests_failed:ratio_rate1h)`:   "ais_aspsp_id",
		`histogram_quantile(0.5, sum by (ll) (rate(x_seconds_sum[5m])))`: "x_seconds_sum",
	} {
		if err := checkMetrics(expr, known); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%s: got %v, want an error with %q", expr, err, fault)
		}
	}
}

// pageMetrics returns the labels of the metrics of docs/telemetry.md, by their names in Prometheus.
func pageMetrics(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile("../docs/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	word := regexp.MustCompile("`([^`]+)`")
	known := map[string][]string{"up": nil}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 8 || word.FindString(cells[2]) == "" {
			continue
		}
		name := word.FindStringSubmatch(cells[2])[1]
		var labels []string
		for _, label := range word.FindAllStringSubmatch(cells[5], -1) {
			labels = append(labels, label[1])
		}
		known[name] = labels
		if strings.TrimSpace(cells[3]) == "histogram" {
			known[name+"_count"], known[name+"_sum"], known[name+"_bucket"] = labels, labels, append(slices.Clone(labels), "le")
		}
	}
	if len(known) < 30 {
		t.Fatalf("only %d metrics are read from the page", len(known))
	}
	return known
}

var (
	exprText   = regexp.MustCompile(`"[^"]*"`)
	exprRange  = regexp.MustCompile(`\[[^\]]*\]|\boffset \S+`)
	exprLabels = regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	exprMetric = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\(|\{[^}]*\})?`)
	exprMatch  = regexp.MustCompile(`\s*[=!].*| `)
	exprWords  = []string{"and", "or", "unless", "on", "by"}
)

// checkMetrics returns an error if an expression uses a metric or label that is not known. All
// metrics have the labels that Prometheus sets.
func checkMetrics(expr string, known map[string][]string) error {
	expr = exprRange.ReplaceAllString(exprText.ReplaceAllString(expr, `""`), "")
	var grouped []string
	for _, list := range exprLabels.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(list[1], ",") {
			grouped = append(grouped, strings.TrimSpace(label))
		}
	}
	all := []string{"job", "namespace", "instance", "le"}
	for _, found := range exprMetric.FindAllStringSubmatch(exprLabels.ReplaceAllString(expr, " "), -1) {
		name, rest := found[1], found[2]
		if rest == "(" || slices.Contains(exprWords, name) {
			continue
		}
		labels, ok := known[name]
		if !ok {
			return fmt.Errorf("there is no metric %s", name)
		}
		all = append(all, labels...)
		for part := range strings.SplitSeq(strings.Trim(rest, "{}"), ",") {
			label := exprMatch.ReplaceAllString(part, "")
			if label != "" && !slices.Contains([]string{"job", "namespace", "instance"}, label) && !slices.Contains(labels, label) {
				return fmt.Errorf("%s has no label %s", name, label)
			}
		}
	}
	for _, label := range grouped {
		if !slices.Contains(all, label) {
			return fmt.Errorf("no metric of the expression has the label %s", label)
		}
	}
	return nil
}
