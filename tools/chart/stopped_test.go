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

// TestStopped walks through what is done when the data of the chart's Redis are lost: away in the
// upgrade that closes unattended access, and back in a second one. Gateways become ready without
// Redis, which `helm upgrade --wait` and a rollout need, and the second upgrade rolls none of them.
func TestStopped(t *testing.T) {
	const closed = `config.unattended={"closedUntil":"2999-12-31T00:00:00Z"}`
	before := objects(t, "small")
	away, back := objects(t, "small", closed, `redis.stopped=true`), objects(t, "small", closed)
	for want, sets := range [][][]runtime.Object{{away}, {before, back}} {
		for _, all := range sets {
			if n := one[*apps.StatefulSet](t, all, "redis").Spec.Replicas; n == nil || int(*n) != want {
				t.Errorf("Redis has %v servers, want %d", n, want)
			}
		}
	}
	gateways := func(all []runtime.Object) core.PodTemplateSpec {
		return one[*apps.Deployment](t, all, "gateway").Spec.Template
	}
	if reflect.DeepEqual(gateways(before), gateways(away)) || !reflect.DeepEqual(gateways(away), gateways(back)) {
		t.Error("gateways must be rolled by the first upgrade, and not by the second")
	}
	if !reflect.DeepEqual(pods(before)["redis"], pods(away)["redis"]) {
		t.Error("Redis comes back as another")
	}
	s := idle(t, before)
	api, admin := serve(t, s, away)
	c := gateways(away).Spec.Containers[0]
	for _, p := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		eventually(t, p.HTTPGet.Path+" answers without Redis", func() bool {
			answer, err := http.Get("http://" + admin + p.HTTPGet.Path)
			return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
		})
	}
	if out, err := tried(t, away, api, admin); err != nil {
		t.Errorf("the hook does not take it that Redis is stopped: %v, %s", err, out)
	}
	if out, err := tried(t, back, api, admin); err == nil || !strings.Contains(out, "Redis cannot be used") {
		t.Errorf("the hook takes it that Redis is away: %v, %s", err, out)
	}
	s.run(t)
	eventually(t, "the hook finds Redis back", func() bool {
		_, err := tried(t, back, api, admin)
		return err == nil
	})
	if out, err := tried(t, away, api, admin); err == nil || !strings.Contains(out, "should be stopped") {
		t.Errorf("the hook takes it that Redis runs, and should be stopped: %v, %s", err, out)
	}
}

// TestNames: Redis's pods can be made, whatever the release is called: the StatefulSet's name and a
// hash stand in a label, which may have 63 characters. The hash is "-" and up to 10.
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
				t.Errorf("%s: the StatefulSet is called %s, of %d characters", s.release, o.Name, len(o.Name))
			}
		}
	}
	if _, err := template(t, "a.b", chart, set{"small", nil}); err == nil || !strings.Contains(err.Error(), "cannot be that of a Service") {
		t.Errorf("a name with a dot: %v", err)
	}
}

// TestWaits: `helm upgrade --wait` ends with a Redis that is stopped, and waits for one that comes
// back: by the reading of states that Helm has it from, of what Kubernetes says of a StatefulSet
// when none of its pods run.
func TestWaits(t *testing.T) {
	for change, want := range map[string]status.Status{`redis.stopped=true`: status.CurrentStatus, `redis.stopped=false`: status.InProgressStatus} {
		s := one[*apps.StatefulSet](t, objects(t, "small", change), "redis").DeepCopy()
		s.Generation = 2
		s.Status = apps.StatefulSetStatus{ObservedGeneration: 2, CurrentRevision: "a", UpdateRevision: "a"}
		raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s)
		must(t, err)
		got, err := status.Compute(&unstructured.Unstructured{Object: raw})
		must(t, err)
		if got.Status != want {
			t.Errorf("%s: is %s (%s), want %s", change, got.Status, got.Message, want)
		}
	}
}

// TestNotes: who installs with Redis stopped is told so, and what must be seen before it comes
// back.
func TestNotes(t *testing.T) {
	for _, c := range []struct {
		changes []string
		said    []string
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
		for _, want := range c.said {
			if !strings.Contains(notes, want) {
				t.Errorf("%v: %q is not said: %s", c.changes, want, notes)
			}
		}
		if strings.Contains(notes, c.not) {
			t.Errorf("%v: %q is said", c.changes, c.not)
		}
	}
}
