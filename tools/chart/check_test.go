package chart_test

import (
	"reflect"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// checkHook checks that a hook validates, before any object is changed, exactly what an install or
// upgrade would run: the same image, configuration, Secrets and environment. The hook ends within a
// minute, it is not retried, and Helm prints its output.
func checkHook(t testing.TB, all []runtime.Object) {
	t.Helper()
	job := one[*batch.Job](t, all, "check")
	if job.Annotations["helm.sh/hook"] != "pre-install,pre-upgrade" || !strings.Contains(job.Annotations["helm.sh/hook-output-log-policy"], "hook-failed") {
		t.Errorf("the check has the annotations %v", job.Annotations)
	}
	if s := job.Spec; s.BackoffLimit == nil || *s.BackoffLimit != 0 || s.ActiveDeadlineSeconds == nil || *s.ActiveDeadlineSeconds > 60 ||
		s.Template.Spec.RestartPolicy != core.RestartPolicyNever {
		t.Error("the check is retried, or may run longer than a minute")
	}
	config := one[*core.ConfigMap](t, all, "check")
	if config.Annotations["helm.sh/hook"] != job.Annotations["helm.sh/hook"] || config.Annotations["helm.sh/hook-weight"] >= "0" {
		t.Errorf("the configuration of the check has the annotations %v, and is not created before the check", config.Annotations)
	}
	if !reflect.DeepEqual(config.Data, one[*core.ConfigMap](t, all, "gateway").Data) {
		t.Error("the check and the gateways read different configurations")
	}
	pod, gateway := job.Spec.Template.Spec, one[*apps.Deployment](t, all, "gateway").Spec.Template.Spec
	check, serve := pod.Containers[0], gateway.Containers[0]
	if check.Image != serve.Image || !reflect.DeepEqual(check.Env, serve.Env) || !reflect.DeepEqual(check.VolumeMounts, serve.VolumeMounts) ||
		!reflect.DeepEqual(pod.Volumes[1:], gateway.Volumes[1:]) {
		t.Error("the image, environment or volumes of the check differ from those of the gateways")
	}
	if check.Args[0] != "check" || !reflect.DeepEqual(check.Args[1:], serve.Args[1:]) {
		t.Errorf("the arguments of the check are %q", check.Args)
	}
	if name := pod.ServiceAccountName; name != "default" && name != gateway.ServiceAccountName {
		t.Errorf("the check runs as ServiceAccount %q", name)
	}
	for _, a := range each[*core.ServiceAccount](all) {
		if a.Name == pod.ServiceAccountName {
			t.Errorf("the check runs as ServiceAccount %s, which does not exist before the first install", a.Name)
		}
	}
}

// TestCheckBeforeChange: the configuration is checked before an install or upgrade, unless
// check.enabled is false.
func TestCheckBeforeChange(t *testing.T) {
	everySet(t, checkHook)
	if jobs := each[*batch.Job](objects(t, "minimal", "check.enabled=false")); len(jobs) != 0 {
		t.Error("there is a check with check.enabled=false")
	}
}

// checkConfigMap checks that older pods keep their configuration: Helm keeps a ConfigMap that
// another one replaces, and a rollout without progress is reported within two minutes.
func checkConfigMap(t testing.TB, all []runtime.Object) {
	t.Helper()
	config, d := one[*core.ConfigMap](t, all, "gateway"), one[*apps.Deployment](t, all, "gateway")
	if config.Annotations["helm.sh/resource-policy"] != "keep" {
		t.Error("Helm deletes the ConfigMap of older pods")
	}
	if name := d.Spec.Template.Spec.Volumes[0].ConfigMap.Name; name != config.Name {
		t.Errorf("the gateways mount ConfigMap %s, want %s", name, config.Name)
	}
	if p := d.Spec.ProgressDeadlineSeconds; p == nil || *p > 120 {
		t.Error("a rollout without progress is not reported within two minutes")
	}
}

// TestConfigMapPerContent: the name of the ConfigMap changes with the configuration that gateways
// read at the start, and with nothing more.
func TestConfigMapPerContent(t *testing.T) {
	everySet(t, checkConfigMap)
	name := func(changes ...string) string {
		return one[*core.ConfigMap](t, objects(t, "minimal", changes...), "gateway").Name
	}
	for change, renamed := range map[string]bool{
		`config.server={"drainFor":"6s"}`:                    true,
		`config.clients.apiKeys[0].name="other"`:             false, // running gateways reload it
		`image.tag="9.9.9"`:                                  false,
		`config.aspsps[0].unattended={"limit":3}`:            true,
		`config.clients.rateLimit={"perSecond":1,"burst":1}`: true,
	} {
		if got := name(change) != name(); got != renamed {
			t.Errorf("%s: the name of the ConfigMap changes: %v, want %v", change, got, renamed)
		}
	}
	if n := len(one[*core.ConfigMap](t, objects(t, "minimal", `fullnameOverride="`+strings.Repeat("a", 46)+`"`), "gateway").Name); n > 63 {
		t.Errorf("the longest name has %d characters", n)
	}
}
