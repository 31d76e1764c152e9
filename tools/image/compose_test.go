package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/goccy/go-yaml"
)

const composeFile = root + "/deploy/compose.yaml"

// loaded reads a compose file as Docker Compose does. It returns an error for an unknown key.
func loaded(t *testing.T, file string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{file}, cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	return options.LoadProject(t.Context())
}

// composed returns the project of deploy/compose.yaml.
func composed(t *testing.T) *types.Project {
	t.Helper()
	project, err := loaded(t, composeFile)
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// TestComposeIsValid: compose.yaml has the expected services and no unknown key.
func TestComposeIsValid(t *testing.T) {
	if names := composed(t).ServiceNames(); !slices.Equal(names, []string{"collector", "gateway", "grafana", "prometheus", "redis"}) {
		t.Errorf("the services are %q", names)
	}
	wrong := filepath.Join(t.TempDir(), "compose.yaml")
	if err := os.WriteFile(wrong, []byte(strings.Replace(read(t, composeFile), "read_only:", "read_onli:", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loaded(t, wrong); err == nil {
		t.Error("an unknown key is accepted")
	}
}

// tagged matches an image with a complete version.
var tagged = regexp.MustCompile(`^[a-z0-9/-]+:v?\d+\.\d+\.\d+$`)

// TestComposeIsConfined: every container has no privileges and a fixed version, publishes ports
// only on this machine, and mounts files that exist, read-only.
func TestComposeIsConfined(t *testing.T) {
	project := composed(t)
	for name, s := range project.Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) || s.Privileged {
			t.Errorf("%s has more privileges than it needs", name)
		}
		if s.Build == nil && !tagged.MatchString(s.Image) {
			t.Errorf("%s has the image %s", name, s.Image)
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s is published at %s:%s", name, p.HostIP, p.Published)
			}
		}
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
				t.Errorf("%s: %s, read-only %v: %v", name, v.Source, v.ReadOnly, err)
			}
		}
		for _, on := range s.GetDependencies() {
			if d := project.Services[on]; s.DependsOn[on].Condition == types.ServiceConditionHealthy && d.HealthCheck == nil {
				t.Errorf("%s waits until %s is healthy, which has no health check", name, on)
			}
		}
	}
	build := project.Services["gateway"].Build
	if same, err := filepath.Abs(root); err != nil || build.Context != same || build.Dockerfile != "deploy/Dockerfile" {
		t.Errorf("the gateway is built from %s with %s", build.Context, build.Dockerfile)
	}
}

// after returns the argument after a flag.
func after(t *testing.T, s types.ServiceConfig, flag string) string {
	t.Helper()
	i := slices.Index(s.Command, flag)
	if i < 0 || i+1 == len(s.Command) {
		t.Fatalf("%s has no %s", s.Name, flag)
	}
	return s.Command[i+1]
}

// mounted returns the file or directory of this tree that is mounted at a path in a container.
func mounted(t *testing.T, s types.ServiceConfig, target string) string {
	t.Helper()
	for _, v := range s.Volumes {
		if v.Type == types.VolumeTypeBind && v.Target == target {
			return v.Source
		}
	}
	t.Fatalf("%s mounts nothing at %s", s.Name, target)
	return ""
}

// as decodes YAML.
func as[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestComposeAddresses: for each address that a container calls, another one listens there.
func TestComposeAddresses(t *testing.T) {
	services := composed(t).Services
	gateway, prometheus, grafana := services["gateway"], services["prometheus"], services["grafana"]
	listen := map[string][]string{
		"redis": {"6379"}, "prometheus": {"9090"}, "grafana": {"3000"}, // their defaults
		"gateway": {port(t, after(t, gateway, "--address")), port(t, after(t, gateway, "--admin-address"))},
	}
	collector := as[struct {
		Receivers struct {
			OTLP struct {
				Protocols map[string]struct{ Endpoint string }
			}
		}
	}](t, read(t, mounted(t, services["collector"], strings.TrimPrefix(services["collector"].Command[0], "--config="))))
	for _, p := range collector.Receivers.OTLP.Protocols {
		listen["collector"] = append(listen["collector"], port(t, p.Endpoint))
	}
	called := []string{after(t, gateway, "--redis"), strings.TrimPrefix(*gateway.Environment["OTEL_EXPORTER_OTLP_ENDPOINT"], "http://")}
	scraped := as[struct {
		Scrape []struct {
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}](t, read(t, mounted(t, prometheus, "/etc/prometheus/prometheus.yaml")))
	for _, s := range scraped.Scrape {
		called = append(called, s.Static[0].Targets...)
	}
	if !slices.Contains(called, "gateway:"+listen["gateway"][1]) {
		t.Errorf("Prometheus does not scrape port %s: %q", listen["gateway"][1], called)
	}
	sources := as[struct {
		Datasources []struct{ URL string }
	}](t, read(t, mounted(t, grafana, "/etc/grafana/provisioning/datasources/datasources.yaml")))
	called = append(called, strings.TrimPrefix(sources.Datasources[0].URL, "http://"))
	for _, address := range called {
		host, number, err := net.SplitHostPort(address)
		if host == "localhost" {
			host = "prometheus"
		}
		if err != nil || !slices.Contains(listen[host], number) {
			t.Errorf("no container listens at %s", address)
		}
	}
	for name, s := range services {
		for _, p := range s.Ports {
			if !slices.Contains(listen[name], fmt.Sprint(p.Target)) {
				t.Errorf("%s does not listen at %d", name, p.Target)
			}
		}
	}
}

// port returns the port of an address.
func port(t *testing.T, address string) string {
	t.Helper()
	_, number, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return number
}

// TestComposeHasDashboards: the dashboards are mounted at the path that Grafana's configuration
// names.
func TestComposeHasDashboards(t *testing.T) {
	grafana := composed(t).Services["grafana"]
	providers := as[struct {
		Providers []struct{ Options struct{ Path string } }
	}](t, read(t, mounted(t, grafana, "/etc/grafana/provisioning/dashboards/dashboards.yaml")))
	files, err := filepath.Glob(filepath.Join(mounted(t, grafana, providers.Providers[0].Options.Path), "*.json"))
	if err != nil || len(files) == 0 {
		t.Errorf("there are no dashboards: %v", err)
	}
	for _, file := range files {
		if !json.Valid([]byte(read(t, file))) {
			t.Errorf("%s is not valid JSON", file)
		}
	}
}

// TestComposePrometheusConfig: Prometheus accepts its configuration and the rules that it names,
// both at their paths in the container.
func TestComposePrometheusConfig(t *testing.T) {
	dir := t.TempDir()
	prometheus := composed(t).Services["prometheus"]
	for _, v := range prometheus.Volumes {
		if v.Type != types.VolumeTypeBind {
			continue
		}
		path := filepath.Join(dir, v.Target)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(read(t, v.Source)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := strings.TrimPrefix(prometheus.Command[slices.IndexFunc(prometheus.Command, func(s string) bool {
		return strings.HasPrefix(s, "--config.file=")
	})], "--config.file=")
	out, err := exec.Command("promtool", "check", "config", filepath.Join(dir, config)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "1 rule files found") {
		t.Errorf("%v (make prometheus installs promtool)\n%s", err, out)
	}
	if !slices.Contains(prometheus.Command, "--enable-feature=exemplar-storage") {
		t.Error("Prometheus does not store exemplars")
	}
}
