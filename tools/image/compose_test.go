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

// loaded reads a compose file as docker compose does, unknown keys refused.
func loaded(t *testing.T, file string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{file}, cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	return options.LoadProject(t.Context())
}

func composed(t *testing.T) *types.Project {
	t.Helper()
	project, err := loaded(t, composeFile)
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestComposeIsReadStrictly(t *testing.T) {
	if names := composed(t).ServiceNames(); !slices.Equal(names, []string{"collector", "gateway", "grafana", "prometheus", "redis"}) {
		t.Errorf("%q", names)
	}
	wrong := filepath.Join(t.TempDir(), "compose.yaml")
	if err := os.WriteFile(wrong, []byte(strings.Replace(read(t, composeFile), "read_only:", "read_onli:", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loaded(t, wrong); err == nil {
		t.Error("an unknown key is accepted")
	}
}

// tagged is an image of one version, to the last digit.
var tagged = regexp.MustCompile(`^[a-z0-9/-]+:v?\d+\.\d+\.\d+$`)

// TestComposeIsConfined: every container is confined, of one version, reached from this machine
// alone, and has its files.
func TestComposeIsConfined(t *testing.T) {
	project := composed(t)
	for name, s := range project.Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) || s.Privileged {
			t.Errorf("%s may do more than it need", name)
		}
		if s.Build == nil && !tagged.MatchString(s.Image) {
			t.Errorf("%s is of %s", name, s.Image)
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s is reached at %s:%s", name, p.HostIP, p.Published)
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
				t.Errorf("%s waits for the health of %s, which nothing tells", name, on)
			}
		}
	}
	build := project.Services["gateway"].Build
	if same, err := filepath.Abs(root); err != nil || build.Context != same || build.Dockerfile != "deploy/Dockerfile" {
		t.Errorf("built from %s by %s", build.Context, build.Dockerfile)
	}
}

// after is what follows a flag.
func after(t *testing.T, s types.ServiceConfig, flag string) string {
	t.Helper()
	i := slices.Index(s.Command, flag)
	if i < 0 || i+1 == len(s.Command) {
		t.Fatalf("%s has no %s", s.Name, flag)
	}
	return s.Command[i+1]
}

// mounted is the file of this tree that stands at a path in a container.
func mounted(t *testing.T, s types.ServiceConfig, target string) string {
	t.Helper()
	for _, v := range s.Volumes {
		if v.Type == types.VolumeTypeBind && v.Target == target {
			return v.Source
		}
	}
	t.Fatalf("%s has nothing at %s", s.Name, target)
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

// TestComposeFitsTogether: where one container calls another, the other listens.
func TestComposeFitsTogether(t *testing.T) {
	services := composed(t).Services
	gateway, prometheus, grafana := services["gateway"], services["prometheus"], services["grafana"]
	listen := map[string][]string{
		"redis": {"6379"}, "prometheus": {"9090"}, "grafana": {"3000"}, // as these do by themselves
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
		t.Errorf("the metrics at port %s are not fetched: %q", listen["gateway"][1], called)
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
			t.Errorf("nobody listens at %s", address)
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

func port(t *testing.T, address string) string {
	t.Helper()
	_, number, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return number
}

// TestComposeHasDashboards: grafana finds the dashboards where it is told to look.
func TestComposeHasDashboards(t *testing.T) {
	grafana := composed(t).Services["grafana"]
	providers := as[struct {
		Providers []struct{ Options struct{ Path string } }
	}](t, read(t, mounted(t, grafana, "/etc/grafana/provisioning/dashboards/dashboards.yaml")))
	files, err := filepath.Glob(filepath.Join(mounted(t, grafana, providers.Providers[0].Options.Path), "*.json"))
	if err != nil || len(files) == 0 {
		t.Errorf("no dashboards, %v", err)
	}
	for _, file := range files {
		if !json.Valid([]byte(read(t, file))) {
			t.Errorf("%s is no JSON", file)
		}
	}
}

// TestComposePrometheusIsAccepted: Prometheus accepts its configuration and the rules that it
// names, both at their places in the container.
func TestComposePrometheusIsAccepted(t *testing.T) {
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
		t.Error("exemplars are not kept")
	}
}
