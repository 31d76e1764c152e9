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

// A proof checks the objects that the chart renders, and reports what is wrong to t.
type proof func(t testing.TB, all []runtime.Object)

// everySet runs a proof on the objects of each example, as subtests.
func everySet(t *testing.T, p proof) {
	t.Helper()
	for _, name := range sets {
		t.Run(name, func(t *testing.T) { p(t, objects(t, name)) })
	}
}

// matches reports whether a selector selects an object with the labels.
func matches(t testing.TB, selector *meta.LabelSelector, of map[string]string) bool {
	t.Helper()
	s, err := meta.LabelSelectorAsSelector(selector)
	must(t, err)
	return s.Matches(labels.Set(of))
}

// checkPodSecurity checks every pod against the restricted Pod Security Standard with Kubernetes's
// own code. In addition, the root file system is read-only, no token is mounted, and the
// environment does not contain the addresses of Services.
func checkPodSecurity(t testing.TB, all []runtime.Object) {
	t.Helper()
	evaluator, err := standard.NewEvaluator(standard.DefaultChecks(), nil)
	must(t, err)
	if n := len(each[*core.Secret](all)); n > 0 {
		t.Errorf("the chart creates %d Secrets", n)
	}
	for _, a := range each[*core.ServiceAccount](all) {
		if a.AutomountServiceAccountToken == nil || *a.AutomountServiceAccountToken {
			t.Errorf("the token of %s is mounted", a.Name)
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
			t.Errorf("%s: a token is mounted", name)
		}
		if l := pod.Spec.EnableServiceLinks; l == nil || *l {
			t.Errorf("%s: the environment contains the addresses of Services", name)
		}
		for _, c := range pod.Spec.Containers {
			if s := c.SecurityContext; s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || *s.RunAsUser != 65532 {
				t.Errorf("%s: %s: the root file system is writable, or the user is wrong", name, c.Name)
			}
			if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() {
				t.Errorf("%s: %s: resources are missing", name, c.Name)
			}
			for _, m := range c.VolumeMounts {
				if m.SubPath != "" {
					t.Errorf("%s: %s: %s has a subPath, so the container does not get updates", name, c.Name, m.MountPath)
				}
			}
		}
	}
}

// TestPodSecurity: all pods meet the restricted Pod Security Standard.
func TestPodSecurity(t *testing.T) {
	everySet(t, checkPodSecurity)
}

// TestToken: a pod has a projected token, which expires, only if the values request it.
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

// checkSelectors checks that Services, the Deployment, the spread constraints and the
// ServiceMonitor select the right pods or Services, and that the pods have the ports that Services
// name.
func checkSelectors(t testing.TB, all []runtime.Object) {
	t.Helper()
	pods := pods(all)
	for _, s := range each[*core.Service](all) {
		of := map[string]string{"gateway": "gateway", "admin": "gateway", "redis": "redis"}[s.Labels["app.kubernetes.io/component"]]
		for name, pod := range pods {
			if found := labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(pod.Labels)); found != (name == of) {
				t.Errorf("Service %s selects pod %s: %v", s.Name, name, found)
			}
		}
		for _, p := range s.Spec.Ports {
			if !slices.ContainsFunc(pods[of].Spec.Containers[0].Ports, func(c core.ContainerPort) bool { return c.Name == p.TargetPort.StrVal }) {
				t.Errorf("Service %s: the pod has no port named %s", s.Name, p.TargetPort.StrVal)
			}
		}
	}
	d := one[*apps.Deployment](t, all, "gateway")
	if !matches(t, d.Spec.Selector, pods["gateway"].Labels) {
		t.Error("the Deployment does not select its own pods")
	}
	for _, s := range pods["gateway"].Spec.TopologySpreadConstraints {
		if !matches(t, s.LabelSelector, pods["gateway"].Labels) || matches(t, s.LabelSelector, pods["test"].Labels) {
			t.Errorf("the spread constraint for %s selects the wrong pods", s.TopologyKey)
		}
	}
	for _, s := range each[*monitoring.ServiceMonitor](all) {
		for _, service := range each[*core.Service](all) {
			if found := matches(t, &s.Spec.Selector, service.Labels); found != (service.Labels["app.kubernetes.io/component"] == "admin") {
				t.Errorf("the ServiceMonitor selects Service %s: %v", service.Name, found)
			}
		}
	}
}

// TestSelectors: selectors select the right objects, and the Deployment's selector does not depend
// on the version or the values, because Kubernetes does not allow it to change.
func TestSelectors(t *testing.T) {
	everySet(t, checkSelectors)
	fixed := map[string]string{"app.kubernetes.io/name": "ais-gateway", "app.kubernetes.io/instance": release, "app.kubernetes.io/component": "gateway"}
	for _, changes := range [][]string{nil, {
		`image.tag="9.9.9"`, `fullnameOverride="other"`, `podLabels={"app.kubernetes.io/name":"other","team":"a"}`, `replicas=5`,
	}} {
		d := each[*apps.Deployment](objects(t, "minimal", changes...))[0]
		if !reflect.DeepEqual(d.Spec.Selector.MatchLabels, fixed) || !matches(t, d.Spec.Selector, d.Spec.Template.Labels) {
			t.Errorf("the selector is %v, the labels %v", d.Spec.Selector.MatchLabels, d.Spec.Template.Labels)
		}
	}
	// A new version of the chart must not restart Redis: without Redis, gateways make no unattended
	// calls.
	if got := pods(objects(t, "small"))["redis"].Labels; len(got) != 3 {
		t.Errorf("the labels of Redis's pods are %v, want only the three of the selector", got)
	}
}

// checkRollout checks that a rollout does not reduce the number of gateways, that the disruption
// budget allows nodes to be drained, and that either the chart or the autoscaler sets the replicas.
func checkRollout(t testing.TB, all []runtime.Object) {
	t.Helper()
	d := one[*apps.Deployment](t, all, "gateway")
	if r := d.Spec.Strategy.RollingUpdate; r.MaxUnavailable.IntValue() != 0 || r.MaxSurge.IntValue() != 1 {
		t.Errorf("the rolling update has %v", r)
	}
	replicas := 0
	scalers := each[*autoscaling.HorizontalPodAutoscaler](all)
	switch {
	case d.Spec.Replicas != nil && len(scalers) == 0:
		replicas = int(*d.Spec.Replicas)
	case d.Spec.Replicas == nil && len(scalers) == 1:
		replicas = int(*scalers[0].Spec.MinReplicas)
		if to := scalers[0].Spec.ScaleTargetRef; to.Name != d.Name || to.Kind != "Deployment" || to.APIVersion != "apps/v1" {
			t.Errorf("the autoscaler scales %v", to)
		}
	default:
		t.Errorf("the Deployment has replicas %v and %d autoscalers", d.Spec.Replicas, len(scalers))
	}
	b := one[*policy.PodDisruptionBudget](t, all, "gateway")
	away, err := intstr.GetScaledValueFromIntOrPercent(b.Spec.MaxUnavailable, replicas, true)
	if err != nil || away < 1 || away >= replicas || b.Spec.MinAvailable != nil {
		t.Errorf("with %d replicas, %d may be unavailable: %v", replicas, away, err)
	}
	if !matches(t, b.Spec.Selector, d.Spec.Template.Labels) || matches(t, b.Spec.Selector, pods(all)["redis"].Labels) {
		t.Error("the disruption budget selects the wrong pods")
	}
}

// TestRollout: gateways are updated and scaled without losing capacity.
func TestRollout(t *testing.T) {
	everySet(t, checkRollout)
	metrics := map[autoscaling.MetricSourceType]string{}
	for _, m := range each[*autoscaling.HorizontalPodAutoscaler](objects(t, "full"))[0].Spec.Metrics {
		if m.Resource != nil {
			metrics[m.Type] = m.Resource.Name.String()
		} else {
			metrics[m.Type] = m.Pods.Metric.Name
		}
	}
	if metrics["Resource"] != "cpu" || metrics["Pods"] != "http_server_active_requests" {
		t.Errorf("the autoscaler uses the metrics %v", metrics)
	}
}

// TestRestarts: a change of values that a gateway reads at the start changes the pods, and a change
// that running gateways reload does not.
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
			t.Errorf("%s: does not change the configuration", change)
		}
	}
	redis := func(changes ...string) core.PodTemplateSpec { return pods(objects(t, "small", changes...))["redis"] }
	if reflect.DeepEqual(redis(), redis(`restartOn={"redis-password":"2"}`)) || !reflect.DeepEqual(redis(), redis(`restartOn={"other":"2"}`, `image.tag="9"`)) {
		t.Error("Redis must restart with its password, and not with the values of the gateway")
	}
}

// checkEnvironment checks the environment variables of the gateway, and that none has a secret as
// its value.
func checkEnvironment(t testing.TB, all []runtime.Object) {
	t.Helper()
	c := pods(all)["gateway"].Spec.Containers[0]
	seen := map[string]bool{}
	for _, e := range c.Env {
		if seen[e.Name] {
			t.Errorf("%s is set twice", e.Name)
		}
		seen[e.Name] = true
		switch {
		case e.Name == "GOMEMLIMIT":
			soft, err := strconv.ParseInt(e.Value, 10, 64)
			if hard := c.Resources.Limits.Memory().Value(); err != nil || soft*10 < hard*7 || soft*10 > hard*9 {
				t.Errorf("GOMEMLIMIT is %s, with a memory limit of %d bytes", e.Value, hard)
			}
		case e.Name == "OTEL_RESOURCE_ATTRIBUTES":
			if !strings.HasPrefix(e.Value, "service.instance.id=$(POD_UID),") || !seen["POD_UID"] || strings.HasSuffix(e.Value, ",") {
				t.Errorf("OTEL_RESOURCE_ATTRIBUTES is %s", e.Value)
			}
		case strings.Contains(e.Name, "HEADERS") && (e.Value != "" || e.ValueFrom.SecretKeyRef == nil):
			t.Errorf("%s is not a reference to a Secret", e.Name)
		}
	}
}

// TestEnvironment: the gateway gets its memory limit, telemetry and proxies as environment
// variables.
func TestEnvironment(t *testing.T) {
	everySet(t, checkEnvironment)
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

// TestRules: the PrometheusRule contains the complete file of rules with the URL of the runbooks,
// and a chart without the file does not render.
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
		t.Errorf("the rules differ from the file: %v", got)
	}
	without := t.TempDir()
	must(t, os.CopyFS(without, os.DirFS(chart)))
	must(t, os.Remove(filepath.Join(without, "files/rules.yaml")))
	out, err := command(t.TempDir(), helm, set{name: "full"}.args(t, "template", release, without)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "files/rules.yaml is missing in the chart") {
		t.Errorf("without the file of rules: %v, %s", err, out)
	}
}

// TestEveryTemplate: each template is rendered by at least one example.
func TestEveryTemplate(t *testing.T) {
	var all strings.Builder
	for _, name := range sets {
		text, err := render(t, set{name: name})
		must(t, err)
		all.WriteString(text)
	}
	must(t, fs.WalkDir(os.DirFS(chart), "templates", func(path string, entry fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".yaml") && !strings.Contains(all.String(), "# Source: ais-gateway/"+path) {
			t.Errorf("%s is not rendered by any example", path)
		}
		return err
	}))
}
