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

// A node is a part of the JSON schema of the values, with the keywords that the tests need.
type node struct {
	Ref        string           `json:"$ref"`
	Properties map[string]*node `json:"properties"`
	Items      *node            `json:"items"`
	Enum       []any            `json:"enum"`
	Additional any              `json:"additionalProperties"`

	Definitions map[string]*node `json:"definitions"`
}

// schema returns the part of the values' schema that describes the gateway's configuration, with
// its references resolved.
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

// walk calls visit for n and all nodes below it, with their paths in the form of the gateway's
// faults.
func (n *node) walk(path string, visit func(path string, n *node)) {
	visit(path, n)
	for name, p := range n.Properties {
		p.walk(strings.TrimPrefix(path+"."+name, "."), visit)
	}
	if n.Items != nil {
		n.Items.walk(path+"[0]", visit)
	}
}

// unknownKey is a key that the schema and the gateway reject. It is also used as an invalid value.
const unknownKey = "zzz"

// withUnknownKeys returns a configuration with an unknown key in each mapping. Each value is
// replaced by a mapping with an unknown key.
func (n *node) withUnknownKeys() any {
	switch {
	case n.Items != nil:
		return []any{n.Items.withUnknownKeys()}
	case n.Properties == nil:
		return map[string]any{unknownKey: 1}
	}
	all := map[string]any{unknownKey: 1}
	for name, p := range n.Properties {
		all[name] = p.withUnknownKeys()
	}
	return all
}

// withInvalidEnums returns a configuration with an invalid value for each enum of the schema.
func (n *node) withInvalidEnums() any {
	switch {
	case n.Items != nil:
		return []any{n.Items.withInvalidEnums()}
	case n.Enum != nil:
		return unknownKey
	case n.Properties == nil:
		return nil
	}
	all := map[string]any{}
	for name, p := range n.Properties {
		if c := p.withInvalidEnums(); c != nil {
			all[name] = c
		}
	}
	return all
}

// configFaults returns the faults that the gateway reports for a configuration, by path. The test
// fails if it reports none.
func configFaults(t *testing.T, config any) map[string]string {
	t.Helper()
	text, err := json.Marshal(config)
	must(t, err)
	m := mount{root: t.TempDir()}
	m.config = filepath.Join(m.root, "gateway.yaml")
	write(t, m.config, text)
	out, err := m.check(t)
	if err == nil {
		t.Fatal("the gateway accepts the configuration")
	}
	found := map[string]string{}
	for _, f := range regexp.MustCompile(`(?m)^(\S+) \(line \d+\): (.*)$`).FindAllStringSubmatch(out, -1) {
		found[f[1]] = f[2]
	}
	return found
}

// notInChart has the keys and values that the gateway accepts and the chart does not, by path. The
// chart sets the addresses itself, and gateways with an embedded Redis would not share their
// counts.
var notInChart = map[string][]string{"server": {"address", "adminAddress"}, "redis.mode": {"embedded"}}

// TestSchemaMatchesConfiguration: the schema of `config` and the gateway accept the same keys in
// each mapping.
func TestSchemaMatchesConfiguration(t *testing.T) {
	config := schema(t)
	found := configFaults(t, config.withUnknownKeys())
	mappings := 0
	config.walk("", func(path string, n *node) {
		fault, isMapping := found[strings.TrimPrefix(path+"."+unknownKey, ".")]
		if n.Properties == nil {
			if isMapping {
				t.Errorf("%s: is a mapping for the gateway, but not in the schema: %s", path, fault)
			}
			return
		}
		mappings++
		_, known, ok := strings.Cut(fault, "; known ") // keys or providers
		_, list, _ := strings.Cut(known, ": ")
		if !ok {
			t.Errorf("%s: the gateway does not list the known keys: %q", path, fault)
			return
		}
		want := slices.DeleteFunc(strings.Split(list, ", "), func(k string) bool { return slices.Contains(notInChart[path], k) })
		if got := slices.Sorted(maps.Keys(n.Properties)); !slices.Equal(got, want) {
			t.Errorf("%s: the schema has the keys %v, the gateway %v", path, got, want)
		}
		if n.Additional != false {
			t.Errorf("%s: the schema accepts unknown keys", path)
		}
	})
	if mappings < 20 {
		t.Errorf("only %d mappings were compared", mappings)
	}
}

// TestSchemaMatchesEnums: the schema of `config` and the gateway accept the same values for each
// enum.
func TestSchemaMatchesEnums(t *testing.T) {
	config := schema(t)
	found := configFaults(t, config.withInvalidEnums())
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
		words := regexp.MustCompile(`[^ ,]+`).FindAllString(strings.TrimPrefix(strings.TrimPrefix(found[path], "must be "), "one of "), -1)
		words = slices.DeleteFunc(words, func(w string) bool { return w == "or" || slices.Contains(notInChart[path], w) })
		var got []string
		for _, w := range n.Enum {
			got = append(got, fmt.Sprint(w))
		}
		slices.Sort(words)
		slices.Sort(got)
		if !slices.Equal(got, words) {
			t.Errorf("%s: the schema has the values %v, the gateway %v", path, got, words)
		}
	})
	if !slices.Equal(providers, want) {
		t.Errorf("aspsps[0].provider: the schema has the values %v, but the providers %v", providers, want)
	}
	if compared < 7 {
		t.Errorf("only %d enums were compared", compared)
	}
}

// TestSchemaMatchesOptions: the schema and the gateway accept the same options of the ASPSPs of each
// provider, and the same values of each enum.
func TestSchemaMatchesOptions(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chart, "values.schema.json"))
	must(t, err)
	var whole node
	must(t, json.Unmarshal(text, &whole))
	compared, plain := 0, strings.Join(strings.Fields(string(text)), "")
	for provider := range whole.Definitions["config"].Properties["providers"].Properties {
		entry := map[string]any{"id": "4f1e2d3c-0000-4000-8000-000000000001", "name": "A", "provider": provider}
		all := map[string]any{"providers": map[string]any{provider: map[string]any{}}, "aspsps": []any{entry}}
		options, ok := whole.Definitions[provider+"Options"]
		if !ok {
			entry["options"] = map[string]any{unknownKey: 1}
			if fault := configFaults(t, all)["aspsps[0].options"]; fault != "this provider has no options" {
				t.Errorf("%s: has no options in the schema, and the gateway says %q", provider, fault)
			}
			continue
		}
		compared++
		branch := fmt.Sprintf(`"if":{"properties":{"provider":{"const":%q}}},"then":{"properties":{"options":{"$ref":"#/definitions/%[1]sOptions"}}}`, provider)
		none := regexp.MustCompile(`"not":\{"enum":\[[^\]]*"` + provider + `"[^\]]*\]`)
		if !strings.Contains(plain, branch) || !none.MatchString(plain) {
			t.Errorf("%s: aspsps.items.allOf does not apply %[1]sOptions to its entries, or its last part refuses all options", provider)
		}
		entry["options"] = options.withUnknownKeys()
		known := configFaults(t, all)["aspsps[0].options."+unknownKey]
		_, list, _ := strings.Cut(known, "; known keys: ")
		if got := strings.Join(slices.Sorted(maps.Keys(options.Properties)), ", "); got != list {
			t.Errorf("%s: the schema has the options %s, the gateway %s", provider, got, list)
		}
		entry["options"] = options.withInvalidEnums()
		found := configFaults(t, all)
		for name, option := range options.Properties {
			if option.Enum != nil && found["aspsps[0].options."+name] != "must be "+join(option.Enum) {
				t.Errorf("%s: the schema has the values %v of %s, the gateway: %s", provider, option.Enum, name, found["aspsps[0].options."+name])
			}
		}
	}
	if compared < 2 {
		t.Errorf("the options of %d providers were compared", compared)
	}
}

// join returns words as in a fault: a, b or c.
func join(words []any) string {
	var all []string
	for _, w := range words {
		all = append(all, fmt.Sprint(w))
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " or " + all[last]
}

// TestSchemaRejectsUnknownKeys: only mappings that the chart passes to Kubernetes unchanged accept
// unknown keys.
func TestSchemaRejectsUnknownKeys(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chart, "values.schema.json"))
	must(t, err)
	var whole map[string]any
	must(t, json.Unmarshal(text, &whole))
	passed := []string{"global", "affinity", "tolerations[]", "extraVolumes[]", "extraVolumeMounts[]", "env[]", "podSelector", "namespaceSelector", "if", "then", "limits", "options"}
	var look func(path string, part any)
	look = func(path string, part any) {
		switch part := part.(type) {
		case map[string]any:
			_, closed := part["additionalProperties"]
			if part["type"] == "object" && !closed && !slices.ContainsFunc(passed, func(p string) bool { return strings.HasSuffix(path, "."+p) }) {
				t.Errorf("%s: accepts unknown keys", path)
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

// TestGracePeriod: the termination grace period is as long as a gateway may need to stop.
func TestGracePeriod(t *testing.T) {
	read := func(file string) []byte {
		text, err := os.ReadFile("../../cmd/gateway/" + file)
		must(t, err)
		return text
	}
	if !regexp.MustCompile(`a\.writeTimeout = max\(a\.writeTimeout, 2\*timeout\+responseMargin\)`).Match(read("wire.go")) {
		t.Error("wire.go computes writeTimeout differently now: change the chart accordingly")
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
			t.Fatalf("%s: the preStop sleep is %v, want 5 s or more", name, sleep)
		}
		grace, needed := time.Duration(*pod.TerminationGracePeriodSeconds)*time.Second, time.Duration(sleep.Seconds)*time.Second+2*longest+fixed
		if grace < needed || grace > needed+15*time.Second {
			t.Errorf("%s: the grace period is %s, the gateway needs %s", name, grace, needed)
		}
	}
}

// TestValuesComplete: every value of the schema is in values.yaml, which is its documentation.
func TestValuesComplete(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	must(t, err)
	var documented map[string]any
	must(t, yaml.UnmarshalStrict(text, &documented))
	var whole node
	text, err = os.ReadFile(filepath.Join(chart, "values.schema.json"))
	must(t, err)
	must(t, json.Unmarshal(text, &whole))
	var compare func(path string, n *node, documented map[string]any)
	compare = func(path string, n *node, documented map[string]any) {
		for name, p := range n.Properties {
			value, ok := documented[name]
			if !ok && name != "global" {
				t.Errorf("%s%s is not in values.yaml", path, name)
			}
			if below, ok := value.(map[string]any); ok {
				compare(path+name+".", p, below)
			}
		}
	}
	compare("", &whole, documented)
}
