package chart_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

// A node is a part of the schema of values, as far as it is looked at here.
type node struct {
	Ref        string           `json:"$ref"`
	Properties map[string]*node `json:"properties"`
	Items      *node            `json:"items"`
	Enum       []any            `json:"enum"`
	Additional any              `json:"additionalProperties"`

	Definitions map[string]*node `json:"definitions"`
}

// schema is the part of the values' schema that describes the gateway's configuration.
func schema(t *testing.T) *node {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chart, "values.schema.json"))
	must(t, err)
	var whole node
	must(t, json.Unmarshal(text, &whole))
	resolved := map[string]*node{}
	var resolve func(*node) *node
	resolve = func(n *node) *node {
		if name, ok := strings.CutPrefix(n.Ref, "#/definitions/"); ok {
			if resolved[name] == nil {
				resolved[name] = resolve(whole.Definitions[name])
			}
			return resolved[name]
		}
		for name, p := range n.Properties {
			n.Properties[name] = resolve(p)
		}
		if n.Items != nil {
			n.Items = resolve(n.Items)
		}
		return n
	}
	return resolve(whole.Definitions["config"])
}

// walk visits a part and all below it, with their paths as faults name them.
func (n *node) walk(path string, visit func(path string, n *node)) {
	visit(path, n)
	for name, p := range n.Properties {
		p.walk(strings.TrimPrefix(path+"."+name, "."), visit)
	}
	if n.Items != nil {
		n.Items.walk(path+"[0]", visit)
	}
}

// stranger is a key that nobody knows.
const stranger = "zzz"

// planted is a configuration with a stranger in each mapping, and a mapping with one in the place
// of each value.
func (n *node) planted() any {
	switch {
	case n.Items != nil:
		return []any{n.Items.planted()}
	case n.Properties == nil:
		return map[string]any{stranger: 1}
	}
	all := map[string]any{stranger: 1}
	for name, p := range n.Properties {
		all[name] = p.planted()
	}
	return all
}

// chosen is a configuration with a wrong word wherever one of several is wanted.
func (n *node) chosen() any {
	switch {
	case n.Items != nil:
		return []any{n.Items.chosen()}
	case n.Enum != nil:
		return stranger
	case n.Properties == nil:
		return nil
	}
	all := map[string]any{}
	for name, p := range n.Properties {
		if c := p.chosen(); c != nil {
			all[name] = c
		}
	}
	return all
}

// faults are what the gateway says of a configuration, by the path.
func faults(t *testing.T, config any) map[string]string {
	t.Helper()
	text, err := json.Marshal(config)
	must(t, err)
	m := mount{root: t.TempDir()}
	m.config = filepath.Join(m.root, "gateway.yaml")
	write(t, m.config, text)
	out, err := m.check(t)
	if err == nil {
		t.Fatal("the gateway has no fault to find")
	}
	found := map[string]string{}
	for _, f := range regexp.MustCompile(`(?m)^(\S+) \(line \d+\): (.*)$`).FindAllStringSubmatch(out, -1) {
		found[f[1]] = f[2]
	}
	return found
}

// beyond are the gateway's keys and words that the chart does not take: it listens where the chart
// says, and a Redis in each process would count for itself.
var beyond = map[string][]string{"server": {"address", "adminAddress"}, "redis.mode": {"embedded"}}

// TestSchemaKnowsTheConfiguration holds the schema of `config` against the gateway's own reading,
// mapping by mapping: the keys that one knows are those that the other does.
func TestSchemaKnowsTheConfiguration(t *testing.T) {
	config := schema(t)
	said := faults(t, config.planted())
	mappings := 0
	config.walk("", func(path string, n *node) {
		fault, strange := said[strings.TrimPrefix(path+"."+stranger, ".")]
		if n.Properties == nil {
			if strange {
				t.Errorf("%s: is a mapping to the gateway, and none in the schema: %s", path, fault)
			}
			return
		}
		mappings++
		_, known, ok := strings.Cut(fault, "; known ") // keys or providers
		_, list, _ := strings.Cut(known, ": ")
		if !ok {
			t.Errorf("%s: the gateway names no known keys: %q", path, fault)
			return
		}
		want := slices.DeleteFunc(strings.Split(list, ", "), func(k string) bool { return slices.Contains(beyond[path], k) })
		if got := slices.Sorted(maps.Keys(n.Properties)); !slices.Equal(got, want) {
			t.Errorf("%s: the schema knows %v, the gateway %v", path, got, want)
		}
		if n.Additional != false {
			t.Errorf("%s: the schema takes unknown keys", path)
		}
	})
	if mappings < 20 {
		t.Errorf("only %d mappings were compared", mappings)
	}
}

// TestSchemaKnowsTheWords holds the same of words of which one must be chosen.
func TestSchemaKnowsTheWords(t *testing.T) {
	config := schema(t)
	said := faults(t, config.chosen())
	compared := 0
	var providers, want []any
	config.walk("", func(path string, n *node) {
		if path == "providers" {
			for _, name := range slices.Sorted(maps.Keys(n.Properties)) {
				want = append(want, name)
			}
		}
		if n.Enum == nil {
			return
		}
		if path == "aspsps[0].provider" { // the gateway accepts each configured provider
			providers = n.Enum
			return
		}
		compared++
		words := regexp.MustCompile(`[^ ,]+`).FindAllString(strings.TrimPrefix(strings.TrimPrefix(said[path], "must be "), "one of "), -1)
		words = slices.DeleteFunc(words, func(w string) bool { return w == "or" || slices.Contains(beyond[path], w) })
		var got []string
		for _, w := range n.Enum {
			got = append(got, fmt.Sprint(w))
		}
		slices.Sort(words)
		slices.Sort(got)
		if !slices.Equal(got, words) {
			t.Errorf("%s: the schema knows %v, the gateway %v", path, got, words)
		}
	})
	if !slices.Equal(providers, want) {
		t.Errorf("aspsps[0].provider: the schema knows %v, its providers are %v", providers, want)
	}
	if compared < 7 {
		t.Errorf("only %d were compared", compared)
	}
}

// TestSchemaTakesWhatIsPassed: mappings in which anything may stand are those of Kubernetes's own
// types, and no others.
func TestSchemaTakesWhatIsPassed(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chart, "values.schema.json"))
	must(t, err)
	var whole map[string]any
	must(t, json.Unmarshal(text, &whole))
	passed := []string{"global", "affinity", "tolerations[]", "extraVolumes[]", "extraVolumeMounts[]", "env[]", "podSelector", "namespaceSelector", "if", "then", "limits"}
	var look func(path string, part any)
	look = func(path string, part any) {
		switch part := part.(type) {
		case map[string]any:
			_, closed := part["additionalProperties"]
			if part["type"] == "object" && !closed && !slices.ContainsFunc(passed, func(p string) bool { return strings.HasSuffix(path, "."+p) }) {
				t.Errorf("%s: takes anything", path)
			}
			for name, below := range part {
				switch name {
				case "properties", "definitions", "patternProperties":
					for key, b := range below.(map[string]any) {
						look(path+"."+key, b)
					}
				case "items":
					look(path+"[]", below)
				default:
					look(path, below)
				}
			}
		case []any:
			for _, below := range part {
				look(path, below)
			}
		}
	}
	look("", whole)
}

// TestGracePeriod: the chart gives a gateway the time that it can need to stop.
func TestGracePeriod(t *testing.T) {
	read := func(file string) []byte {
		text, err := os.ReadFile("../../cmd/gateway/" + file)
		must(t, err)
		return text
	}
	if !regexp.MustCompile(`a\.writeTimeout = max\(a\.writeTimeout, 2\*timeout\+responseMargin\)`).Match(read("wire.go")) {
		t.Error("wire.go computes writeTimeout in another way now: the chart must do so, too")
	}
	constants := read("serve.go")
	seconds := func(name string) time.Duration {
		m := regexp.MustCompile(name + ` += (\d+) \* time\.Second`).FindSubmatch(constants)
		if m == nil {
			t.Fatalf("serve.go has no %s in seconds", name)
		}
		n, _ := strconv.Atoi(string(m[1]))
		return time.Duration(n) * time.Second
	}
	if seconds("flushTimeout") >= seconds("responseMargin") {
		t.Error("flushTimeout is not part of responseMargin")
	}
	for name, longest := range map[string]time.Duration{
		"minimal": 10 * time.Second, "sentinel": 72*time.Second + 500*time.Millisecond, "cluster": 20 * time.Second, "full": 15 * time.Second,
	} {
		fixed := seconds("responseMargin") + 5*time.Second // server.drainFor by default
		if name == "full" {
			fixed += 15 * time.Second
		}
		pod := one[*apps.Deployment](t, objects(t, name), "gateway").Spec.Template.Spec
		sleep := pod.Containers[0].Lifecycle.PreStop.Sleep
		if sleep == nil || sleep.Seconds < 5 {
			t.Fatalf("%s: no pause before the end: %v", name, sleep)
		}
		grace, needed := time.Duration(*pod.TerminationGracePeriodSeconds)*time.Second, time.Duration(sleep.Seconds)*time.Second+2*longest+fixed
		if grace < needed || grace > needed+15*time.Second {
			t.Errorf("%s: %s to end, where %s are needed", name, grace, needed)
		}
	}
}

// TestValuesSayAll: every value that the schema knows stands in values.yaml, where users read.
func TestValuesSayAll(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	must(t, err)
	var said map[string]any
	must(t, yaml.UnmarshalStrict(text, &said))
	var whole node
	text, err = os.ReadFile(filepath.Join(chart, "values.schema.json"))
	must(t, err)
	must(t, json.Unmarshal(text, &whole))
	var compare func(path string, n *node, said map[string]any)
	compare = func(path string, n *node, said map[string]any) {
		for name, p := range n.Properties {
			value, ok := said[name]
			if !ok && name != "global" {
				t.Errorf("%s%s is not in values.yaml", path, name)
			}
			if below, ok := value.(map[string]any); ok {
				compare(path+name+".", p, below)
			}
		}
	}
	compare("", &whole, said)
}
