package chart_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// TestRedisLost walks through what is done when the data of the chart's Redis are lost: away in the upgrade that closes unattended
// access, and back in a second one. Gateways become ready without Redis, which `helm upgrade --wait` and a rollout need, and the
// second upgrade rolls none of them.
func TestRedisLost(t *testing.T) {
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

// TestNames holds that Redis's pods can be made, whatever the release is called: the StatefulSet's name and a hash stand in a label,
// which may have 63 characters. The hash is "-" and up to 10.
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
