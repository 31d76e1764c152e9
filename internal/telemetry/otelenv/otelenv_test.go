package otelenv

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/certtest"
)

// unset clears the OTEL_* variables of the environment, and clears those of the table again when
// the test ends.
func unset(t *testing.T) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
	for name := range table {
		t.Setenv(name, "")
	}
}

// row has valid and invalid values of some variables.
type row struct {
	names []string
	good  map[string]string // the value, and the value that the libraries get
	bad   []string
}

func otlp(suffix string) []string { return slices.Sorted(maps.Keys(perSignal(suffix, variable{}))) }

// same returns values that the libraries get unchanged.
func same(values ...string) map[string]string {
	m := map[string]string{}
	for _, v := range values {
		m[v] = v
	}
	return m
}

var (
	truths = map[string]string{
		"true": "true", "TRUE": "true", "1": "true", "yes": "true", "Yes": "true", "on": "true", "ON": "true", "t": "true", "y": "true", " true\t": "true",
		"false": "false", "False": "false", "0": "false", "no": "false", "off": "false", "n": "false", "f": "false", " No ": "false",
	}
	untruths = []string{"ture", "2", "-1", "enabled", "true false", "\"true\"", "yes!", "null"}
	unwhole  = []string{"5s", "5000ms", "1e3", "0x10", "5.5", "5,000", "5 000", "many", "99999999999999999999"}
	rows     = []row{
		{[]string{Disabled}, truths, untruths},
		{otlp("INSECURE"), truths, untruths},
		{[]string{"OTEL_SERVICE_NAME"}, map[string]string{"Bank reader": "Bank reader", " ä ": "ä"}, []string{"\xff", "a\x01b"}},
		{
			[]string{"OTEL_RESOURCE_ATTRIBUTES"},
			same("a=b", "a=b,c.d= e%20f", "a=", "a=b=c"),
			[]string{"a", "a=b,", "=b", "a=%zz", "a=b,,c=d", "a=%ff", "a: b"},
		},
		{[]string{"OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER"}, map[string]string{"otlp": "otlp", "Console": "console", " none": "none"}, []string{"jaeger", "otlp,console", "prometheus", "otlp_proto_grpc"}},
		{[]string{"OTEL_METRICS_EXPORTER"}, map[string]string{"prometheus": "prometheus", "OTLP": "otlp"}, []string{"otlp,prometheus", "statsd"}},
		{[]string{"OTEL_METRICS_PRODUCERS"}, same("none", "prometheus"), []string{"otlp"}},
		{[]string{"OTEL_TRACES_SAMPLER"}, map[string]string{"Always_Off": "always_off", "parentbased_traceidratio": "parentbased_traceidratio"}, []string{"always_of", "0.1", "jaeger_remote", "xray"}},
		{[]string{"OTEL_TRACES_SAMPLER_ARG"}, same("0", "1", "0.25", "1e-3"), []string{"10%", "1.1", "-0.1", "0,1", "NaN", "Inf", "half"}},
		{[]string{"OTEL_PROPAGATORS"}, map[string]string{"none": "none", "tracecontext, baggage": "tracecontext,baggage", "B3": "b3"}, []string{"w3c", "", "tracecontext;baggage"}},
		{[]string{"OTEL_METRICS_EXEMPLAR_FILTER"}, same("always_on", "always_off", "trace_based"), []string{"with_sampled_trace", "none"}},
		{[]string{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"}, same("cumulative", "delta", "lowmemory"), []string{"low_memory"}},
		{[]string{"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"}, same("explicit_bucket_histogram", "base2_exponential_bucket_histogram"), []string{"exponential"}},
		{
			otlp("ENDPOINT"), same("http://collector:4318", "https://collector", "http://127.0.0.1:4318/v1/traces", "http://[::1]:4317"),
			[]string{"collector:4318", "localhost", "127.0.0.1:4318", "//collector", "grpc://collector:4317", "http://", "http://:4318", "http://c:port", "http://c:70000", "http://c:0", "http://c:", "http://u:p@c:1", "http://c?k=v", "http://c?", "http://c#f", "http://c d", "unix:///run/c"},
		},
		{otlp("PROTOCOL"), map[string]string{"grpc": "grpc", "GRPC": "grpc", "http/protobuf ": "http/protobuf"}, []string{"http/json", "http", "https", "protobuf"}},
		{otlp("HEADERS"), same("api-key=x", "a=b,c=d%20e", "authorization=Basic%20eA==", "a="), []string{"api-key", "a=b,", "a b=c", "=x", "a: b", "a=%zz", "a=%0a", "ä=b"}},
		{otlp("COMPRESSION"), map[string]string{"gzip": "gzip", "GZIP": "gzip", "none": "none"}, []string{"zstd", "true"}},
		{otlp("TIMEOUT"), map[string]string{"0": "0", "+10": "10", " 10000 ": "10000"}, append([]string{"-1", "9000000000001"}, unwhole...)},
		{
			[]string{"OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_BLRP_EXPORT_TIMEOUT", "OTEL_METRIC_EXPORT_INTERVAL", "OTEL_METRIC_EXPORT_TIMEOUT"},
			same("1", "5000"), append([]string{"0", "-1", "9000000000001"}, unwhole...),
		},
		{
			[]string{"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BLRP_MAX_QUEUE_SIZE", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE"},
			same("1", "512", "1000000"), append([]string{"0", "-1", "1000001"}, unwhole...),
		},
		{
			[]string{
				"OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
				"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
				"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
			},
			same("-1", "0", "128"), append([]string{"-2", "unlimited"}, unwhole...),
		},
	}
)

func TestEveryRow(t *testing.T) {
	certificate, key := certtest.CA(t, "collector").Write()
	other, _ := certtest.CA(t, "other").Write()
	rows := append([]row{{otlp("CERTIFICATE"), same(certificate), []string{key, certificate + "-missing", filepath.Dir(key)}}}, rows...)
	tested := map[string]bool{}
	for _, r := range rows {
		for _, name := range r.names {
			tested[name] = true
			for written, read := range r.good {
				judged(t, name, written, read, false)
			}
			for _, written := range r.bad {
				if written != "" {
					judged(t, name, written, "", true)
				}
			}
			judged(t, name, " \t ", "", false)
		}
	}
	for i, name := range otlp("CLIENT_CERTIFICATE") {
		keyName := otlp("CLIENT_KEY")[i]
		tested[name], tested[keyName] = true, true
		for _, c := range []struct{ certificate, key, fault string }{
			{certificate, key, ""},
			{certificate, "", name},
			{"", key, keyName},
			{other, key, name},
			{certificate + "-missing", key, name},
			{certificate, key + "-missing", name},
		} {
			unset(t)
			t.Setenv(name, c.certificate)
			t.Setenv(keyName, c.key)
			faults := Apply()
			if c.fault == "" && len(faults) > 0 || c.fault != "" && (len(faults) != 1 || faults[0].Name != c.fault) {
				t.Errorf("%s: %v, want a fault of %q", name, faults, c.fault)
			}
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(table)), slices.Sorted(maps.Keys(tested))); diff != "" {
		t.Errorf("rows that no value tests (-table +tests):\n%s", diff)
	}
}

func judged(t *testing.T, name, written, read string, fault bool) {
	t.Helper()
	unset(t)
	t.Setenv(name, written)
	faults := Apply()
	if got := os.Getenv(name); got != read {
		t.Errorf("%s=%q is read as %q, want %q", name, written, got, read)
	}
	if !fault && len(faults) > 0 {
		t.Errorf("%s=%q: %v", name, written, faults)
	}
	if !fault {
		return
	}
	if len(faults) != 1 || faults[0].Name != name || faults[0].Stops != table[name].stops || !strings.HasPrefix(faults[0].Detail, "must be ") {
		t.Errorf("%s=%q: %v, want one fault", name, written, faults)
	}
	if again := Apply(); len(again) > 0 {
		t.Errorf("%s=%q is still there: %v", name, written, again)
	}
}

// Of a list of propagators the known ones are used.
func TestKnownPropagatorsAreKept(t *testing.T) {
	unset(t)
	t.Setenv("OTEL_PROPAGATORS", "b3,w3c, Jaeger")
	if faults := Apply(); len(faults) != 1 || os.Getenv("OTEL_PROPAGATORS") != "b3,jaeger" {
		t.Errorf("faults %v, read as %q", faults, os.Getenv("OTEL_PROPAGATORS"))
	}
}

func TestUnused(t *testing.T) {
	unset(t)
	for _, name := range []string{
		"OTEL_SDK_DISABLE", "OTEL_LOG_LEVEL", "OTEL_EXPORTER_PROMETHEUS_PORTS", // misspelled or not supported
		"OTEL_BSP_SCHEDULE_DELAY", "OTEL_GO_X_OBSERVABILITY", "OTEL_RESOURCE_ATTRIBUTES_POD_NAME", // in use, or not for the gateway
		"OTEL_COLLECTOR_SERVICE_HOST", "OTEL_COLLECTOR_SERVICE_PORT_OTLP", "OTEL_COLLECTOR_PORT", "OTEL_COLLECTOR_PORT_4317_TCP_ADDR",
		"OTEL_sécret", "otel_sdk_disabled",
	} {
		t.Setenv(name, "1")
	}
	want := []string{"OTEL_EXPORTER_PROMETHEUS_PORTS", "OTEL_LOG_LEVEL", "OTEL_SDK_DISABLE"}
	if diff := cmp.Diff(want, Unused()); diff != "" {
		t.Errorf("unused (-want +got):\n%s", diff)
	}
}

var (
	quoted    = regexp.MustCompile(`"(OTEL_[A-Z_]+[A-Z])"`)
	forSignal = regexp.MustCompile(`With(?:URL|CertPool|Bool|Headers|EnvCompression|EnvProtocol|Duration|EnvTemporalityPreference|EnvAggPreference)\(\s*"([A-Z_]+)"`)
)

// The table has every variable that the libraries read, also after an update of the libraries.
func TestTableIsComplete(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{.ImportPath}} {{.Dir}}", "ais-gateway/internal/telemetry").Output()
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(path, "go.opentelemetry.io/") {
			continue
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range quoted.FindAllSubmatch(content, -1) {
				read[string(found[1])] = true
			}
			for _, found := range forSignal.FindAllSubmatch(content, -1) {
				read["OTEL_EXPORTER_OTLP_"+string(found[1])] = true
			}
		}
	}
	if len(read) < 40 {
		t.Fatalf("only %d variables were found", len(read))
	}
	for name := range read {
		_, known := table[name]
		// A namespace, a port that the gateway does not open, and experiments.
		if !known && name != "OTEL_EXPORTER_OTLP" && !strings.HasPrefix(name, "OTEL_EXPORTER_PROMETHEUS_") && !strings.HasPrefix(name, "OTEL_GO_X_") {
			t.Errorf("%s has no row", name)
		}
	}
}

// docs/telemetry.md has the same table.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../../docs/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	stops := map[bool]string{true: "the start fails", false: "a log line, and the default holds"}
	oneSignal := regexp.MustCompile(`^OTEL_EXPORTER_OTLP_(TRACES|METRICS|LOGS)_`)
	got, want := map[string]string{}, map[string]string{}
	for name, v := range table {
		if general := oneSignal.ReplaceAllString(name, "OTEL_EXPORTER_OTLP_"); table[general].check == nil || general == name {
			want[name] = v.must + " | " + stops[v.stops]
		}
	}
	variables := regexp.MustCompile("`(OTEL_[A-Z_]+)`")
	for _, found := range regexp.MustCompile(`(?m)^\| (.*) \| (must be .*) \|$`).FindAllStringSubmatch(string(page), -1) {
		for _, name := range variables.FindAllStringSubmatch(found[1], -1) {
			got[name[1]] = strings.ReplaceAll(found[2], "`", "")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/telemetry.md (-table +page):\n%s", diff)
	}
}
