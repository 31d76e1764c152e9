package chart_test

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// A host is a pod as policies see it.
type host struct {
	namespace string
	labels    map[string]string
}

// lets tells whether the policies over one of the chart's pods let it speak with another, in one
// direction.
func lets(t testing.TB, all []runtime.Object, pod, other host, direction networking.PolicyType, protocol core.Protocol, port int32) bool {
	t.Helper()
	under := false
	for _, p := range each[*networking.NetworkPolicy](all) {
		if !matches(t, &p.Spec.PodSelector, pod.labels) || !slices.Contains(p.Spec.PolicyTypes, direction) {
			continue
		}
		under = true
		if direction == networking.PolicyTypeEgress {
			for _, r := range p.Spec.Egress {
				if among(t, r.To, other) && through(r.Ports, protocol, port) {
					return true
				}
			}
			continue
		}
		for _, r := range p.Spec.Ingress {
			if among(t, r.From, other) && through(r.Ports, protocol, port) {
				return true
			}
		}
	}
	return !under
}

func among(t testing.TB, peers []networking.NetworkPolicyPeer, h host) bool {
	t.Helper()
	fits := func(selector *meta.LabelSelector, of map[string]string, without bool) bool {
		if selector == nil {
			return without
		}
		return matches(t, selector, of)
	}
	return slices.ContainsFunc(peers, func(p networking.NetworkPolicyPeer) bool {
		return p.IPBlock == nil && fits(p.PodSelector, h.labels, true) &&
			fits(p.NamespaceSelector, map[string]string{"kubernetes.io/metadata.name": h.namespace}, h.namespace == namespace)
	})
}

func through(ports []networking.NetworkPolicyPort, protocol core.Protocol, port int32) bool {
	return slices.ContainsFunc(ports, func(p networking.NetworkPolicyPort) bool {
		return p.Port.IntVal == port && *p.Protocol == protocol
	})
}

// number is the port of a pod's containers that a Service means, and its name.
func number(pod core.PodTemplateSpec, p core.ServicePort) (string, int32) {
	for _, c := range pod.Spec.Containers {
		for _, port := range c.Ports {
			if port.Name == p.TargetPort.StrVal || port.ContainerPort == p.TargetPort.IntVal {
				return port.Name, port.ContainerPort
			}
		}
	}
	return "", 0
}

// finds holds that an address that one of the chart's pods calls is that of a Service which leads
// to a pod's port of that name, and that the policies of both let it.
func finds(t testing.TB, all []runtime.Object, from, address, want string) {
	t.Helper()
	name, port, err := net.SplitHostPort(address)
	must(t, err)
	name, domain, _ := strings.Cut(name, ".")
	services := each[*core.Service](all)
	i := slices.IndexFunc(services, func(s *core.Service) bool { return s.Name == name })
	if i < 0 || !slices.Contains([]string{"", namespace + ".svc"}, domain) {
		t.Errorf("%s: there is no Service at %s", from, address)
		return
	}
	s := services[i]
	j := slices.IndexFunc(s.Spec.Ports, func(p core.ServicePort) bool { return strconv.Itoa(int(p.Port)) == port })
	if j < 0 {
		t.Errorf("%s: Service %s has no port %s", from, name, port)
		return
	}
	caller, called := pods(all)[from], 0
	for to, pod := range pods(all) {
		if !matches(t, &meta.LabelSelector{MatchLabels: s.Spec.Selector}, pod.Labels) {
			continue
		}
		called++
		got, n := number(pod, s.Spec.Ports[j])
		if got != want {
			t.Errorf("%s: %s leads to port %q of %s, want %s", from, address, got, to, want)
		}
		if s.Spec.ClusterIP == core.ClusterIPNone && strconv.Itoa(int(n)) != port {
			t.Errorf("%s: %s leads to the pods themselves, which have port %d", from, address, n)
		}
		a, b := host{namespace, caller.Labels}, host{namespace, pod.Labels}
		if !lets(t, all, a, b, networking.PolicyTypeEgress, core.ProtocolTCP, n) {
			t.Errorf("%s: its policy closes the way to port %d of %s", from, n, to)
		}
		if !lets(t, all, b, a, networking.PolicyTypeIngress, core.ProtocolTCP, n) {
			t.Errorf("%s: the policy of %s closes port %d to it", from, to, n)
		}
	}
	if called == 0 {
		t.Errorf("%s: Service %s leads to no pod", from, name)
	}
	dns := host{"kube-system", map[string]string{"k8s-app": "kube-dns"}}
	for _, protocol := range []core.Protocol{core.ProtocolUDP, core.ProtocolTCP} {
		if !lets(t, all, host{namespace, caller.Labels}, dns, networking.PolicyTypeEgress, protocol, 53) {
			t.Errorf("%s: cannot ask for %s by %s", from, name, protocol)
		}
	}
}

// listens are the ports at which the programs listen, by the container's port that must be it.
func listens(t testing.TB, all []runtime.Object) (ports map[string]string, redis []string) {
	t.Helper()
	var config struct {
		Server struct{ Address, AdminAddress string }
		Redis  struct{ Addresses []string }
	}
	must(t, yaml.Unmarshal([]byte(one[*core.ConfigMap](t, all, "gateway").Data["gateway.yaml"]), &config))
	ports = map[string]string{"gateway/api": config.Server.Address, "gateway/admin": config.Server.AdminAddress}
	if _, ok := pods(all)["redis"]; ok {
		ports["redis/redis"] = ":6379"
		if m := regexp.MustCompile(`(?m)^port (\d+)$`).FindStringSubmatch(one[*core.ConfigMap](t, all, "redis").Data["redis.conf"]); m != nil {
			ports["redis/redis"] = ":" + m[1]
		}
		redis = config.Redis.Addresses
	}
	return ports, redis
}

// reached holds that what the chart's pods call of each other is there: programs listen at their
// containers' ports, addresses lead to these by Services, and policies let them.
func reached(t testing.TB, all []runtime.Object) {
	t.Helper()
	ports, redis := listens(t, all)
	for name, pod := range pods(all) {
		for _, c := range pod.Spec.Containers {
			for _, p := range c.Ports {
				if got := ":" + strconv.Itoa(int(p.ContainerPort)); got != ports[name+"/"+p.Name] {
					t.Errorf("%s: port %s is %s, and the program listens at %s", name, p.Name, got, ports[name+"/"+p.Name])
				}
				delete(ports, name+"/"+p.Name)
			}
		}
	}
	for name := range ports {
		t.Errorf("%s: the container has no such port", name)
	}
	for _, address := range redis {
		finds(t, all, "gateway", address, "redis")
	}
	for _, c := range pods(all)["test"].Spec.Containers {
		for _, e := range c.Env {
			if u, err := url.Parse(e.Value); err == nil && (e.Name == "API" || e.Name == "ADMIN") {
				finds(t, all, "test", u.Host, strings.ToLower(e.Name))
			}
		}
	}
	for _, s := range each[*core.Service](all) {
		component := s.Labels["app.kubernetes.io/component"]
		if (component != "gateway") != (s.Spec.ClusterIP == core.ClusterIPNone) || s.Spec.PublishNotReadyAddresses != (component == "admin") {
			t.Errorf("Service %s: each by itself: %q, also those that are not ready: %v", s.Name, s.Spec.ClusterIP, s.Spec.PublishNotReadyAddresses)
		}
		for _, p := range s.Spec.Ports {
			for name, pod := range pods(all) {
				if _, n := number(pod, p); matches(t, &meta.LabelSelector{MatchLabels: s.Spec.Selector}, pod.Labels) && s.Spec.ClusterIP == core.ClusterIPNone && n != p.Port {
					t.Errorf("Service %s: says port %d, and leads to %d of %s", s.Name, p.Port, n, name)
				}
			}
		}
	}
}

// monitored holds that Prometheus's operator finds the admin port by the Service that the
// ServiceMonitor selects.
func monitored(t testing.TB, all []runtime.Object) {
	t.Helper()
	for _, m := range each[*monitoring.ServiceMonitor](all) {
		if !slices.Equal(m.Spec.NamespaceSelector.MatchNames, []string{namespace}) || len(m.Spec.Endpoints) != 1 {
			t.Errorf("the ServiceMonitor looks in %v, for %d endpoints", m.Spec.NamespaceSelector.MatchNames, len(m.Spec.Endpoints))
		}
		scraped := 0
		for _, s := range each[*core.Service](all) {
			if !matches(t, &m.Spec.Selector, s.Labels) {
				continue
			}
			for _, p := range s.Spec.Ports {
				if name, _ := number(pods(all)["gateway"], p); p.Name == m.Spec.Endpoints[0].Port && name == "admin" {
					scraped++
				}
			}
		}
		if scraped != 1 {
			t.Errorf("the ServiceMonitor finds port %s at %d Services", m.Spec.Endpoints[0].Port, scraped)
		}
	}
}

// answered gives the proof that what is asked of a gateway's admin port is there, at one that runs:
// the paths of probes and metrics.
func answered(admin string) proof {
	get := func(t testing.TB, path string) string {
		t.Helper()
		answer, err := http.Get("http://" + admin + path)
		must(t, err)
		body, err := io.ReadAll(answer.Body)
		must(t, err)
		must(t, answer.Body.Close())
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s answers %d", path, answer.StatusCode)
		}
		return string(body)
	}
	return func(t testing.TB, all []runtime.Object) {
		t.Helper()
		c := pods(all)["gateway"].Spec.Containers[0]
		for _, p := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
			if p.HTTPGet.Port.StrVal != "admin" {
				t.Errorf("%s is asked for at port %s", p.HTTPGet.Path, p.HTTPGet.Port.String())
			}
			get(t, p.HTTPGet.Path)
		}
		if r, l := c.ReadinessProbe.HTTPGet.Path, c.LivenessProbe.HTTPGet.Path; r != "/readyz" || l != "/livez" {
			t.Errorf("ready by %s, alive by %s", r, l)
		}
		for _, m := range each[*monitoring.ServiceMonitor](all) {
			for _, e := range m.Spec.Endpoints {
				if text := get(t, e.Path); !strings.Contains(text, "# TYPE ") {
					t.Errorf("%s has no metrics", e.Path)
				}
			}
		}
	}
}

// running is the admin address of a gateway that has begun, without its Redis.
func running(t *testing.T) string {
	t.Helper()
	all := objects(t, "small")
	_, admin := serve(t, idle(t, all), all)
	eventually(t, "the gateway is ready", func() bool {
		answer, err := http.Get("http://" + admin + "/readyz")
		return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	})
	return admin
}

func TestReached(t *testing.T)   { everySet(t, reached) }
func TestMonitored(t *testing.T) { everySet(t, monitored) }

func TestAnswered(t *testing.T) {
	everySet(t, answered(running(t)))
}
