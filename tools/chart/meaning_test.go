package chart_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	podsecurity "k8s.io/pod-security-admission/api"
	standard "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// A proof judges what the chart makes of some values.
type proof func(t testing.TB, all []runtime.Object)

// everySet holds what each of the examples makes against a proof.
func everySet(t *testing.T, p proof) {
	t.Helper()
	for _, name := range sets {
		t.Run(name, func(t *testing.T) { p(t, objects(t, name)) })
	}
}

func matches(t testing.TB, selector *meta.LabelSelector, of map[string]string) bool {
	t.Helper()
	s, err := meta.LabelSelectorAsSelector(selector)
	must(t, err)
	return s.Matches(labels.Set(of))
}

// restricted holds every pod against Kubernetes's own reading of the restricted standard, and
// beyond it: nothing can be written but what is mounted, no token is mounted, and no service's
// address is in the environment.
func restricted(t testing.TB, all []runtime.Object) {
	t.Helper()
	evaluator, err := standard.NewEvaluator(standard.DefaultChecks(), nil)
	must(t, err)
	if n := len(each[*core.Secret](all)); n > 0 {
		t.Errorf("%d Secrets are made", n)
	}
	for _, a := range each[*core.ServiceAccount](all) {
		if a.AutomountServiceAccountToken == nil || *a.AutomountServiceAccountToken {
			t.Errorf("the token of %s would be mounted", a.Name)
		}
	}
	for name, pod := range pods(all) {
		latest := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
		for _, r := range evaluator.EvaluatePod(latest, &pod.ObjectMeta, &pod.Spec) {
			if !r.Allowed {
				t.Errorf("%s: %s: %s", name, r.ForbiddenReason, r.ForbiddenDetail)
			}
		}
		if m := pod.Spec.AutomountServiceAccountToken; m == nil || *m {
			t.Errorf("%s: a token would be mounted", name)
		}
		if l := pod.Spec.EnableServiceLinks; l == nil || *l {
			t.Errorf("%s: has the addresses of services in its environment", name)
		}
		for _, c := range pod.Spec.Containers {
			if s := c.SecurityContext; s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || *s.RunAsUser != 65532 {
				t.Errorf("%s: %s: can write, or is somebody else", name, c.Name)
			}
			if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() {
				t.Errorf("%s: %s: resources are missing", name, c.Name)
			}
			for _, m := range c.VolumeMounts {
				if m.SubPath != "" {
					t.Errorf("%s: %s: changes of %s would not be seen", name, c.Name, m.MountPath)
				}
			}
		}
	}
}

func TestPodsAreRestricted(t *testing.T) {
	everySet(t, restricted)
}

// TestToken: a token is in the pod for those who ask for it alone, and then one of its own, with an
// end.
func TestToken(t *testing.T) {
	for _, name := range sets {
		tokens := 0
		for _, v := range one[*apps.Deployment](t, objects(t, name), "gateway").Spec.Template.Spec.Volumes {
			if v.Projected == nil {
				continue
			}
			for _, s := range v.Projected.Sources {
				if s.ServiceAccountToken != nil && *s.ServiceAccountToken.ExpirationSeconds == 3600 {
					tokens++
				}
			}
		}
		if want := map[string]int{"full": 1}[name]; tokens != want {
			t.Errorf("%s: %d tokens, want %d", name, tokens, want)
		}
	}
}

// selected holds that what selects pods finds those that are meant, by ports that they have, and
// that nothing of it changes with a version or a value: a Deployment's selector can never be
// changed.
func selected(t testing.TB, all []runtime.Object) {
	t.Helper()
	pods := pods(all)
	for _, s := range each[*core.Service](all) {
		of := map[string]string{"gateway": "gateway", "admin": "gateway", "redis": "redis"}[s.Labels["app.kubernetes.io/component"]]
		for name, pod := range pods {
			if found := labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(pod.Labels)); found != (name == of) {
				t.Errorf("service %s and pod %s: %v", s.Name, name, found)
			}
		}
		for _, p := range s.Spec.Ports {
			if !slices.ContainsFunc(pods[of].Spec.Containers[0].Ports, func(c core.ContainerPort) bool { return c.Name == p.TargetPort.StrVal }) {
				t.Errorf("service %s: no port is called %s", s.Name, p.TargetPort.StrVal)
			}
		}
	}
	d := one[*apps.Deployment](t, all, "gateway")
	if !matches(t, d.Spec.Selector, pods["gateway"].Labels) {
		t.Error("the Deployment does not find its own pods")
	}
	for _, s := range pods["gateway"].Spec.TopologySpreadConstraints {
		if !matches(t, s.LabelSelector, pods["gateway"].Labels) || matches(t, s.LabelSelector, pods["test"].Labels) {
			t.Errorf("what is spread by %s is something else", s.TopologyKey)
		}
	}
	for _, s := range each[*monitoring.ServiceMonitor](all) {
		for _, service := range each[*core.Service](all) {
			if found := matches(t, &s.Spec.Selector, service.Labels); found != (service.Labels["app.kubernetes.io/component"] == "admin") {
				t.Errorf("the ServiceMonitor and service %s: %v", service.Name, found)
			}
		}
	}
}

func TestSelectors(t *testing.T) {
	everySet(t, selected)
	fixed := map[string]string{"app.kubernetes.io/name": "ais-gateway", "app.kubernetes.io/instance": release, "app.kubernetes.io/component": "gateway"}
	for _, changes := range [][]string{nil, {
		`image.tag="9.9.9"`, `fullnameOverride="other"`, `podLabels={"app.kubernetes.io/name":"other","team":"a"}`, `replicas=5`,
	}} {
		d := each[*apps.Deployment](objects(t, "minimal", changes...))[0]
		if !reflect.DeepEqual(d.Spec.Selector.MatchLabels, fixed) || !matches(t, d.Spec.Selector, d.Spec.Template.Labels) {
			t.Errorf("the selector is %v, the labels %v", d.Spec.Selector.MatchLabels, d.Spec.Template.Labels)
		}
	}
	// A new version of the chart must not restart Redis, while which no unattended call is made.
	if got := pods(objects(t, "small"))["redis"].Labels; len(got) != 3 {
		t.Errorf("the labels of Redis's pods change with versions: %v", got)
	}
}

// rolled holds that gateways are rolled with none missing, that a budget lets each node be drained,
// and that replicas are one's affair alone: the chart's or the autoscaler's.
func rolled(t testing.TB, all []runtime.Object) {
	t.Helper()
	d := one[*apps.Deployment](t, all, "gateway")
	if r := d.Spec.Strategy.RollingUpdate; r.MaxUnavailable.IntValue() != 0 || r.MaxSurge.IntValue() != 1 {
		t.Errorf("rolled by %v", r)
	}
	replicas := 0
	scalers := each[*autoscaling.HorizontalPodAutoscaler](all)
	switch {
	case d.Spec.Replicas != nil && len(scalers) == 0:
		replicas = int(*d.Spec.Replicas)
	case d.Spec.Replicas == nil && len(scalers) == 1:
		replicas = int(*scalers[0].Spec.MinReplicas)
		if to := scalers[0].Spec.ScaleTargetRef; to.Name != d.Name || to.Kind != "Deployment" || to.APIVersion != "apps/v1" {
			t.Errorf("what is scaled is %v", to)
		}
	default:
		t.Errorf("replicas %v and %d autoscalers", d.Spec.Replicas, len(scalers))
	}
	b := one[*policy.PodDisruptionBudget](t, all, "gateway")
	away, err := intstr.GetScaledValueFromIntOrPercent(b.Spec.MaxUnavailable, replicas, true)
	if err != nil || away < 1 || away >= replicas || b.Spec.MinAvailable != nil {
		t.Errorf("of %d replicas %d may be away: %v", replicas, away, err)
	}
	if !matches(t, b.Spec.Selector, d.Spec.Template.Labels) || matches(t, b.Spec.Selector, pods(all)["redis"].Labels) {
		t.Error("the budget is for other pods")
	}
}

func TestRollout(t *testing.T) {
	everySet(t, rolled)
	metrics := map[autoscaling.MetricSourceType]string{}
	for _, m := range each[*autoscaling.HorizontalPodAutoscaler](objects(t, "full"))[0].Spec.Metrics {
		if m.Resource != nil {
			metrics[m.Type] = m.Resource.Name.String()
		} else {
			metrics[m.Type] = m.Pods.Metric.Name
		}
	}
	if metrics["Resource"] != "cpu" || metrics["Pods"] != "http_server_active_requests" {
		t.Errorf("scaled by %v", metrics)
	}
}

// TestRestarts: the pods change with what is read at the start, and not with what is taken over
// while they run.
func TestRestarts(t *testing.T) {
	pod := func(name string, changes ...string) (string, string) {
		all := objects(t, name, changes...)
		text, err := json.Marshal(one[*apps.Deployment](t, all, "gateway").Spec.Template)
		must(t, err)
		return string(text), one[*core.ConfigMap](t, all, "gateway").Data["gateway.yaml"]
	}
	before, config := pod("minimal")
	for change, restarts := range map[string]bool{
		`config.clients.apiKeys[0].name="other"`:                                  false,
		`config.clients.apiKeys[0].scopes=["accounts:read"]`:                      false,
		`config.clients.rateLimit={"perSecond":1,"burst":1}`:                      true,
		`config.server={"limits":{"inFlight":10}}`:                                true,
		`config.aspsps[0].unattended={"limit":3}`:                                 true,
		`config.redis.waitReplicas=1`:                                             true,
		`config.providers.mastercard.timeout="11s"`:                               true,
		`config.audit={"output":"off"}`:                                           true,
		`restartOn={"redis-password":"2"}`:                                        true,
		`image.tag="9.9.9"`:                                                       true,
		`replicas=7`:                                                              false,
		`networkPolicy.callers.from=[{"podSelector":{}}]`:                         false,
		`prometheusRule={"enabled":true,"runbookURL":"https://wiki.example.com"}`: false,
		`telemetry={"OTEL_EXPORTER_OTLP_PROTOCOL":"http/protobuf"}`:               true,
		`secrets.more={"secret":"other"}`:                                         true,
		`service.annotations={"example.com/load-balancer":"private"}`:             false,
	} {
		after, c := pod("minimal", change)
		if (after != before) != restarts {
			t.Errorf("%s: restarts: %v, want %v", change, after != before, restarts)
		}
		if strings.HasPrefix(change, "config.") && c == config {
			t.Errorf("%s: is not in the configuration", change)
		}
	}
	redis := func(changes ...string) core.PodTemplateSpec { return pods(objects(t, "small", changes...))["redis"] }
	if reflect.DeepEqual(redis(), redis(`restartOn={"redis-password":"2"}`)) || !reflect.DeepEqual(redis(), redis(`restartOn={"other":"2"}`, `image.tag="9"`)) {
		t.Error("Redis must be restarted with its password, and with nothing of the gateway's")
	}
}

// told holds what the program is told by its environment, and that nothing of it is a secret.
func told(t testing.TB, all []runtime.Object) {
	t.Helper()
	c := pods(all)["gateway"].Spec.Containers[0]
	seen := map[string]bool{}
	for _, e := range c.Env {
		if seen[e.Name] {
			t.Errorf("%s is given twice", e.Name)
		}
		seen[e.Name] = true
		switch {
		case e.Name == "GOMEMLIMIT":
			soft, err := strconv.ParseInt(e.Value, 10, 64)
			if hard := c.Resources.Limits.Memory().Value(); err != nil || soft*10 < hard*7 || soft*10 > hard*9 {
				t.Errorf("Go keeps to %s of %d bytes", e.Value, hard)
			}
		case e.Name == "OTEL_RESOURCE_ATTRIBUTES":
			if !strings.HasPrefix(e.Value, "service.instance.id=$(POD_UID),") || !seen["POD_UID"] || strings.HasSuffix(e.Value, ",") {
				t.Errorf("the resource is %s", e.Value)
			}
		case strings.Contains(e.Name, "HEADERS") && (e.Value != "" || e.ValueFrom.SecretKeyRef == nil):
			t.Errorf("%s is no reference", e.Name)
		}
	}
}

func TestEnvironment(t *testing.T) {
	everySet(t, told)
	var got []string
	for _, e := range pods(objects(t, "full"))["gateway"].Spec.Containers[0].Env {
		got = append(got, e.Name+"="+e.Value)
	}
	for _, want := range []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector.monitoring.svc:4318", "HTTPS_PROXY=http://proxy.egress.svc:3128", "NO_PROXY=.svc",
		"OTEL_RESOURCE_ATTRIBUTES=service.instance.id=$(POD_UID),k8s.pod.name=$(POD_NAME),k8s.namespace.name=$(POD_NAMESPACE),deployment.environment.name=production",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not among %v", want, got)
		}
	}
}

// TestRules: the PrometheusRule is the file of rules, whole, with the URL of the runbooks, and that
// a chart without the file is refused.
func TestRules(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chart, "files/rules.yaml"))
	must(t, err)
	var want monitoring.PrometheusRuleSpec
	const placeholder, own = "https://runbooks.example.com/ais-gateway#", "https://wiki.example.com/payments/ais-gateway/runbooks#"
	if n := strings.Count(string(text), placeholder); n < 20 {
		t.Errorf("only %d alerts have a runbook_url", n)
	}
	must(t, yaml.UnmarshalStrict([]byte(strings.ReplaceAll(string(text), placeholder, own)), &want))
	if got := each[*monitoring.PrometheusRule](objects(t, "full"))[0].Spec; len(want.Groups) == 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("the rules are not those of the file: %v", got)
	}
	without := t.TempDir()
	must(t, os.CopyFS(without, os.DirFS(chart)))
	must(t, os.Remove(filepath.Join(without, "files/rules.yaml")))
	out, err := command(t.TempDir(), helm, set{name: "full"}.args(t, "template", release, without)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "files/rules.yaml is missing in the chart") {
		t.Errorf("without its rules: %v, %s", err, out)
	}
}

// TestEveryTemplate: no template is left out of the examples.
func TestEveryTemplate(t *testing.T) {
	var all strings.Builder
	for _, name := range sets {
		text, err := render(t, set{name: name})
		must(t, err)
		all.WriteString(text)
	}
	must(t, fs.WalkDir(os.DirFS(chart), "templates", func(path string, entry fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".yaml") && !strings.Contains(all.String(), "# Source: ais-gateway/"+path) {
			t.Errorf("%s is rendered by none of them", path)
		}
		return err
	}))
}
