package chart_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// TestExamples: Helm's linter, the API types, kube-score and the gateway accept each example.
func TestExamples(t *testing.T) {
	for _, name := range sets {
		t.Run(name, func(t *testing.T) {
			lint(t, name)
			text, err := render(t, set{name: name})
			if err != nil {
				t.Fatal(err)
			}
			all := decode(t, text)
			if len(all) < 9 {
				t.Errorf("only %d objects", len(all))
			}
			score(t, text)
			c := newMount(t, all)
			if out, err := c.check(t); err != nil {
				t.Errorf("gateway check: %v\n%s", err, out)
			}
		})
	}
}

// lint runs Helm's linter on the chart with an example.
func lint(t *testing.T, name string) {
	t.Helper()
	out, err := command(t.TempDir(), helm, set{name: name}.args(t, "lint", "--strict", chart)...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "1 chart(s) linted, 0 chart(s) failed") {
		t.Errorf("helm lint: %v\n%s", err, out)
	}
}

// score runs kube-score on the manifests. It must report only that the gateways have no CPU limit,
// which is intended: a limit would throttle them (see the README of the chart).
func score(t *testing.T, manifests string) {
	t.Helper()
	const unlimited = "apps/v1/Deployment: (gateway) CPU limit is not set"
	c := command(t.TempDir(), kubescore, "score", "--kubernetes-version", "v1.30", "--disable-ignore-checks-annotations", "--enable-optional-test", "container-seccomp-profile",
		"--enable-optional-test", "pod-topology-spread-constraints", "--output-format", "ci", "-")
	c.Stdin = strings.NewReader(manifests)
	out, err := c.Output()
	critical := 0
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "[CRITICAL]") {
			critical++
			if !strings.HasSuffix(strings.TrimSpace(line), unlimited) {
				t.Error(line)
			}
		}
	}
	if critical != 1 {
		t.Errorf("kube-score reports %d faults in addition to the missing CPU limit of gateways: %v", critical-1, err)
	}
	if n := strings.Count(string(out), "[OK]"); n < 45 {
		t.Errorf("only %d checks of kube-score passed", n)
	}
}

// A mount is a directory with the files that a gateway's pod mounts, and the path of the
// configuration in it.
type mount struct{ root, config string }

// newMount writes the files that the gateway's pod mounts: its configuration, and the secrets that
// the configuration names. It does not write a secret that is in no volume.
func newMount(t *testing.T, all []runtime.Object) mount {
	t.Helper()
	m := mount{root: t.TempDir()}
	pod := pods(all)["gateway"].Spec
	text := one[*core.ConfigMap](t, all, "gateway").Data["gateway.yaml"]
	secrets := newSecrets(t)
	for _, mounted := range pod.Containers[0].VolumeMounts {
		for _, v := range pod.Volumes {
			if v.Name != mounted.Name || v.Secret == nil && v.Projected == nil {
				continue
			}
			for _, file := range namedFiles(text, mounted.MountPath) {
				write(t, filepath.Join(m.root, file), secrets.content(file))
			}
		}
	}
	m.config = filepath.Join(m.root, "etc/ais-gateway/gateway.yaml")
	text = strings.ReplaceAll(text, "/run/secrets/", m.root+"/run/secrets/")
	write(t, m.config, []byte(strings.ReplaceAll(text, "/var/log/", m.root+"/var/log/")))
	return m
}

// namedFiles returns the files below a directory that a configuration names.
func namedFiles(text, dir string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if _, file, ok := strings.Cut(strings.TrimSpace(line), "File: "); ok && strings.HasPrefix(file, dir+"/") {
			all = append(all, file)
		}
	}
	return all
}

// write writes a file and creates its directory.
func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// check runs `gateway check` on the configuration and returns its output. The error is not nil if
// the check fails.
func (m mount) check(t *testing.T) (string, error) {
	t.Helper()
	c := command(m.root, gateway, "check", "--config", m.config)
	c.Env = append(c.Env, "HTTPS_PROXY=http://proxy.example.com:3128")
	out, err := c.CombinedOutput()
	return string(out), err
}

// TestConfiguration: the gateway's configuration is that of the values, with the addresses that the
// chart sets.
func TestConfiguration(t *testing.T) {
	for _, name := range sets {
		text, err := os.ReadFile(filepath.Join(values, name+".yaml"))
		must(t, err)
		var given struct{ Config map[string]any }
		must(t, yaml.Unmarshal(text, &given))
		server, _ := given.Config["server"].(map[string]any)
		if server == nil {
			server = map[string]any{}
		}
		server["address"], server["adminAddress"] = ":8080", ":9090"
		given.Config["server"] = server
		if name == "small" {
			given.Config["redis"] = map[string]any{
				"mode": "standalone", "passwordFile": "/run/secrets/redis/password",
				"addresses": []any{release + "-ais-gateway-redis." + namespace + ".svc:6379"},
			}
		}
		var got map[string]any
		must(t, yaml.Unmarshal([]byte(one[*core.ConfigMap](t, objects(t, name), "gateway").Data["gateway.yaml"]), &got))
		if !reflect.DeepEqual(got, given.Config) {
			t.Errorf("%s: got %v, want %v", name, got, given.Config)
		}
	}
}
