package deploy_test

import (
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/sandbox"
)

// telemetryPage is the page whose tables the tests compare with telemetry.
const telemetryPage = "../../docs/telemetry.md"

// tableRows returns the rows of the page's table whose first column has the given head.
func tableRows(t *testing.T, head string) [][]string {
	t.Helper()
	page, err := os.ReadFile(telemetryPage)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "\n| "+head+" |")
	if !found {
		t.Fatalf("%s has no table %q", telemetryPage, head)
	}
	var rows [][]string
	for _, line := range strings.Split(rest, "\n")[2:] {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}

// codeWords returns the words of a cell that are in backquotes.
func codeWords(cell string) []string {
	var words []string
	for i, part := range strings.Split(cell, "`") {
		if i%2 == 1 {
			words = append(words, part)
		}
	}
	return words
}

// documentedMetric is a row of the page's table of metrics.
type documentedMetric struct {
	otlp, scraped, kind, unit string
	labels                    []string // sorted, as they are scraped
}

// documentedMetrics returns the metrics of the page.
func documentedMetrics(t *testing.T) []documentedMetric {
	t.Helper()
	var all []documentedMetric
	for _, row := range tableRows(t, "metric") {
		m := documentedMetric{kind: row[2], unit: row[3], scraped: codeWords(row[1])[0], labels: codeWords(row[4])}
		if row[0] != "" {
			m.otlp = codeWords(row[0])[0]
		}
		slices.Sort(m.labels)
		all = append(all, m)
	}
	if len(all) < 20 {
		t.Fatalf("only %d metrics are read from the page", len(all))
	}
	return all
}

// documentedAttributes returns the attributes of each kind of spans on the page, by the number of the
// kind in OTLP.
func documentedAttributes(t *testing.T) map[int][]string {
	t.Helper()
	keys := map[int][]string{}
	for _, row := range tableRows(t, "attribute") {
		for i, kind := range []int{kindServer, kindInternal, kindClient} {
			if row[i+1] == "yes" {
				keys[kind] = append(keys[kind], codeWords(row[0])...)
			}
		}
	}
	for _, of := range keys {
		slices.Sort(of)
	}
	return keys
}

// The ASPSPs of a sandbox and its providers.
var (
	aspsps    = []string{mastercardsim.WoodBank, mastercardsim.StoneBank, mastercardsim.RiverBank, sandbox.MyPOS}
	standards = []string{sandbox.ElmBank, sandbox.BirchBank, sandbox.WillowBank, sandbox.KingfisherBank, sandbox.HeronBank}
	providers = []string{"mastercard", "mypos", "berlingroup", "obie"}
)

// labelChecks returns a function for each label that reports whether the label may have a value: those that the page lists in
// backquotes, and those that it describes.
func labelChecks(t *testing.T) map[string]func(string) bool {
	t.Helper()
	among := func(lists ...[]string) func(string) bool {
		return func(value string) bool { return slices.Contains(slices.Concat(lists...), value) }
	}
	status := func(value string) bool {
		n, err := strconv.Atoi(value)
		return err == nil && (n == 499 || http.StatusText(n) != "")
	}
	all := map[string]func(string) bool{}
	for _, row := range tableRows(t, "label") {
		all[codeWords(row[0])[0]] = among(codeWords(row[1]))
	}
	var codes []string
	for _, k := range canonical.Kinds() {
		codes = append(codes, string(k))
	}
	part, failure := all["part"], all["error_type"]
	maps.Copy(all, map[string]func(string) bool{
		"ais_aspsp_id": among(aspsps, standards),
		"ais_provider": among(providers),
		"part":         func(value string) bool { return part(value) || among(providers)(value) },
		"error_type": func(value string) bool {
			return failure(value) || status(value) || among(codes, []string{"_OTHER"})(value)
		},
		"http_request_method": among([]string{
			http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
			http.MethodConnect, http.MethodOptions, http.MethodTrace, "QUERY", "_OTHER",
		}),
		"http_route":                among(contractRoutes(t, "../../api/openapi.yaml")),
		"http_response_status_code": status,
		"url_template":              regexp.MustCompile(`^(/[a-zA-Z0-9_.-]+|/\{[a-zA-Z-]+\})+$`).MatchString,
		"server_address":            among([]string{"127.0.0.1"}),
		"server_port":               regexp.MustCompile(`^\d{1,5}$`).MatchString, // of four simulators
		"go_memory_type":            among([]string{"stack", "other"}),
		"service_name":              among([]string{"ais-gateway"}),
		"service_version":           regexp.MustCompile(`^\S+$`).MatchString,
		"telemetry_sdk_language":    among([]string{"go"}),
		"telemetry_sdk_name":        among([]string{"opentelemetry"}),
		"telemetry_sdk_version":     regexp.MustCompile(`^[0-9.]+$`).MatchString,
		"le":                        regexp.MustCompile(`^([0-9.]+|\+Inf)$`).MatchString,
	})
	return all
}

// contractRoutes returns the paths of the contract.
func contractRoutes(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, match := range regexp.MustCompile(`(?m)^  (/\S*):$`).FindAllStringSubmatch(string(text), -1) {
		routes = append(routes, match[1])
	}
	return routes
}

// conventions returns the attributes and the units of metrics of OpenTelemetry's semantic conventions, from the source of the module
// version that the gateway is built with.
func conventions(t *testing.T) (attributes map[string]bool, units map[string]string) {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "go.opentelemetry.io/otel").Output()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(telemetryPage)
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`semantic conventions (1\.\d+)`).FindSubmatch(page)
	if version == nil {
		t.Fatal("the page names no version of the conventions")
	}
	root := filepath.Join(strings.TrimSpace(string(dir)), "semconv", "v"+string(version[1])+".0")
	attributes, units = map[string]bool{}, map[string]string{}
	text, err := os.ReadFile(filepath.Join(root, "attribute_group.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`= attribute\.Key\("([^"]+)"\)`).FindAllSubmatch(text, -1) {
		attributes[string(match[1])] = true
	}
	metric := regexp.MustCompile(`(?s)\) Name\(\) string \{\s*return "([^"]+)"\s*\}.{0,200}?\) Unit\(\) string \{\s*return "([^"]+)"`)
	files, err := filepath.Glob(filepath.Join(root, "*conv", "metric.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if text, err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
		for _, match := range metric.FindAllSubmatch(text, -1) {
			units[string(match[1])] = string(match[2])
		}
	}
	if len(attributes) < 500 || units["http.server.request.duration"] != "s" {
		t.Fatalf("%d attributes and %d metrics are read from the conventions", len(attributes), len(units))
	}
	return attributes, units
}

// TestNamesFollowConventions: names and units are those of OpenTelemetry's semantic conventions, or start with `ais.`. An attribute of
// an ais metric may also be a single word that the page lists.
func TestNamesFollowConventions(t *testing.T) {
	attributes, units := conventions(t)
	proper := func(key string) bool { return attributes[key] || strings.HasPrefix(key, "ais.") }
	for _, key := range slices.Concat(slices.Collect(maps.Values(documentedAttributes(t)))...) {
		if !proper(key) {
			t.Errorf("the spans' attribute %s is in no convention, and not ais.*", key)
		}
	}
	scraped := map[string]bool{}
	for key := range attributes {
		scraped[strings.ReplaceAll(key, ".", "_")] = true
	}
	var listed []string
	for _, row := range tableRows(t, "label") {
		listed = append(listed, codeWords(row[0])[0])
	}
	for _, m := range documentedMetrics(t) {
		if m.otlp == "" {
			continue // Prometheus's own
		}
		own := strings.HasPrefix(m.otlp, "ais.")
		switch unit, known := units[m.otlp]; {
		case !known && !own:
			t.Errorf("the metric %s is in no convention, and not ais.*", m.otlp)
		case known && unit != m.unit:
			t.Errorf("the unit of %s is %s, and not %s", m.otlp, unit, m.unit)
		case m.unit == "":
			t.Errorf("%s has no unit", m.otlp)
		}
		for _, label := range m.labels {
			word := own && !strings.ContainsAny(label, "_.") && slices.Contains(listed, label)
			if !scraped[label] && !strings.HasPrefix(label, "ais_") && !word {
				t.Errorf("the label %s of %s is in no convention, and not ais.*", label, m.otlp)
			}
		}
	}
}
