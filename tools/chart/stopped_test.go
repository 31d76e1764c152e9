package chart_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// TestRedisStopped: after the loss of its data, the chart's Redis can be stopped by an upgrade that
// closes unattended access, and started again by a second upgrade. Gateways become ready without
// Redis, as `helm upgrade --wait` and a rollout require, and the second upgrade restarts none of
// them.
func TestRedisStopped(t *testing.T) {
	const closed = `config.unattended={"closedUntil":"2999-12-31T00:00:00Z"}`
	before := objects(t, "small")
	stopped, started := objects(t, "small", closed, `redis.stopped=true`), objects(t, "small", closed)
	for want, sets := range [][][]runtime.Object{{stopped}, {before, started}} {
		for _, all := range sets {
			if n := one[*apps.StatefulSet](t, all, "redis").Spec.Replicas; n == nil || int(*n) != want {
				t.Errorf("Redis has replicas %v, want %d", n, want)
			}
		}
	}
	gateways := func(all []runtime.Object) core.PodTemplateSpec {
		return one[*apps.Deployment](t, all, "gateway").Spec.Template
	}
	if reflect.DeepEqual(gateways(before), gateways(stopped)) || !reflect.DeepEqual(gateways(stopped), gateways(started)) {
		t.Error("the first upgrade must restart the gateways, and the second must not")
	}
	if !reflect.DeepEqual(pods(before)["redis"], pods(stopped)["redis"]) {
		t.Error("the pod of Redis changes")
	}
	s := newRedis(t, before)
	api, admin := startGateway(t, s, stopped)
	c := gateways(stopped).Spec.Containers[0]
	for _, p := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		eventually(t, p.HTTPGet.Path+" returns 200 without Redis", func() bool {
			response, err := http.Get("http://" + admin + p.HTTPGet.Path)
			return err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK
		})
	}
	if out, err := runTestHook(t, stopped, api, admin); err != nil {
		t.Errorf("the hook fails although Redis should be stopped: %v, %s", err, out)
	}
	if out, err := runTestHook(t, started, api, admin); err == nil || !strings.Contains(out, "Redis cannot be used") {
		t.Errorf("the hook accepts that Redis is missing: %v, %s", err, out)
	}
	s.run(t)
	eventually(t, "the hook finds Redis again", func() bool {
		_, err := runTestHook(t, started, api, admin)
		return err == nil
	})
	if out, err := runTestHook(t, stopped, api, admin); err == nil || !strings.Contains(out, "should be stopped") {
		t.Errorf("the hook accepts that Redis runs although it should be stopped: %v, %s", err, out)
	}
}

// TestNames: the name of Redis's StatefulSet is valid for every release name. Kubernetes puts the
// name and a hash of up to 11 characters, with its hyphen, into a label, which is limited to 63.
func TestNames(t *testing.T) {
	long := strings.Repeat("a", 46)
	for _, s := range []struct{ release, override, want string }{
		{release, "", "ais-ais-gateway"},
		{"ais-gateway", "", "ais-gateway"},
		{strings.Repeat("b", 53), "", strings.Repeat("b", 46)},
		{strings.Repeat("b", 45) + "-c", "", strings.Repeat("b", 45)},
		{release, long, long},
	} {
		text, err := template(t, s.release, chart, set{"small", []string{`fullnameOverride="` + s.override + `"`}})
		must(t, err)
		for _, o := range each[*apps.StatefulSet](decode(t, text)) {
			if o.Name != s.want+"-redis" || len(o.Name)+11 > 63 {
				t.Errorf("%s: the name of the StatefulSet is %s, with %d characters", s.release, o.Name, len(o.Name))
			}
		}
	}
	if _, err := template(t, "a.b", chart, set{"small", nil}); err == nil || !strings.Contains(err.Error(), "cannot be that of a Service") {
		t.Errorf("a name with a dot: %v", err)
	}
}

// TestHelmWait: `helm upgrade --wait` does not wait for a Redis that is stopped, and waits for one
// that starts again. The test computes the status of a StatefulSet without running pods with the
// library that Helm uses.
func TestHelmWait(t *testing.T) {
	for change, want := range map[string]status.Status{`redis.stopped=true`: status.CurrentStatus, `redis.stopped=false`: status.InProgressStatus} {
		s := one[*apps.StatefulSet](t, objects(t, "small", change), "redis").DeepCopy()
		s.Generation = 2
		s.Status = apps.StatefulSetStatus{ObservedGeneration: 2, CurrentRevision: "a", UpdateRevision: "a"}
		raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s)
		must(t, err)
		got, err := status.Compute(&unstructured.Unstructured{Object: raw})
		must(t, err)
		if got.Status != want {
			t.Errorf("%s: the status is %s (%s), want %s", change, got.Status, got.Message, want)
		}
	}
}

// TestNotes: the notes of an install say that Redis is stopped, and what to check before it is
// started again.
func TestNotes(t *testing.T) {
	for _, c := range []struct {
		changes []string
		want    []string
		not     string
	}{
		{nil, []string{"Its volume is kept"}, "REDIS IS STOPPED"},
		{[]string{`redis.stopped=true`}, []string{"REDIS IS STOPPED", "must not come back before config.unattended.closedUntil is set"}, "stays closed until"},
		{[]string{`redis.stopped=true`, `config.unattended={"closedUntil":"2999-12-31T00:00:00Z"}`}, []string{
			"REDIS IS STOPPED", "stays closed until 2999-12-31T00:00:00Z", "app.kubernetes.io/instance=ais,app.kubernetes.io/component=gateway",
		}, "must not come back"},
	} {
		args := set{"small", c.changes}.args(t, "install", release, chart, "--namespace", namespace, "--dry-run=client")
		out, err := command(t.TempDir(), helm, args...).CombinedOutput()
		must(t, err)
		_, notes, _ := strings.Cut(string(out), "NOTES:")
		for _, want := range c.want {
			if !strings.Contains(notes, want) {
				t.Errorf("%v: the notes lack %q: %s", c.changes, want, notes)
			}
		}
		if strings.Contains(notes, c.not) {
			t.Errorf("%v: the notes contain %q", c.changes, c.not)
		}
	}
}
