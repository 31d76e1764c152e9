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

// A host is a pod as network policies select it.
type host struct {
	namespace string
	labels    map[string]string
}

// allowed reports whether the policies that select pod allow its traffic with other in one
// direction. Without such a policy, all traffic is allowed.
func allowed(t testing.TB, all []runtime.Object, pod, other host, direction networking.PolicyType, protocol core.Protocol, port int32) bool {
	t.Helper()
	selected := false
	for _, p := range each[*networking.NetworkPolicy](all) {
		if !matches(t, &p.Spec.PodSelector, pod.labels) || !slices.Contains(p.Spec.PolicyTypes, direction) {
			continue
		}
		selected = true
		if direction == networking.PolicyTypeEgress {
			for _, r := range p.Spec.Egress {
				if matchesPeer(t, r.To, other) && matchesPort(r.Ports, protocol, port) {
					return true
				}
			}
			continue
		}
		for _, r := range p.Spec.Ingress {
			if matchesPeer(t, r.From, other) && matchesPort(r.Ports, protocol, port) {
				return true
			}
		}
	}
	return !selected
}

// matchesPeer reports whether one of the peers is the host.
func matchesPeer(t testing.TB, peers []networking.NetworkPolicyPeer, h host) bool {
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

// matchesPort reports whether one of the ports is the port with that protocol.
func matchesPort(ports []networking.NetworkPolicyPort, protocol core.Protocol, port int32) bool {
	return slices.ContainsFunc(ports, func(p networking.NetworkPolicyPort) bool {
		return p.Port.IntVal == port && *p.Protocol == protocol
	})
}

// containerPort returns the name and number of the container port that a port of a Service targets,
// or "" and 0 if the pod has none.
func containerPort(pod core.PodTemplateSpec, p core.ServicePort) (string, int32) {
	for _, c := range pod.Spec.Containers {
		for _, port := range c.Ports {
			if port.Name == p.TargetPort.StrVal || port.ContainerPort == p.TargetPort.IntVal {
				return port.Name, port.ContainerPort
			}
		}
	}
	return "", 0
}

// checkAddress checks that an address that a pod of the chart calls is that of a Service for pods
// with a port of that name, and that the policies of both pods allow the connection.
func checkAddress(t testing.TB, all []runtime.Object, from, address, want string) {
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
		got, n := containerPort(pod, s.Spec.Ports[j])
		if got != want {
			t.Errorf("%s: %s targets port %q of %s, want %s", from, address, got, to, want)
		}
		if s.Spec.ClusterIP == core.ClusterIPNone && strconv.Itoa(int(n)) != port {
			t.Errorf("%s: %s resolves to the pods, which have port %d", from, address, n)
		}
		a, b := host{namespace, caller.Labels}, host{namespace, pod.Labels}
		if !allowed(t, all, a, b, networking.PolicyTypeEgress, core.ProtocolTCP, n) {
			t.Errorf("%s: its policy denies egress to port %d of %s", from, n, to)
		}
		if !allowed(t, all, b, a, networking.PolicyTypeIngress, core.ProtocolTCP, n) {
			t.Errorf("%s: the policy of %s denies ingress to port %d", from, to, n)
		}
	}
	if called == 0 {
		t.Errorf("%s: Service %s selects no pod", from, name)
	}
	dns := host{"kube-system", map[string]string{"k8s-app": "kube-dns"}}
	for _, protocol := range []core.Protocol{core.ProtocolUDP, core.ProtocolTCP} {
		if !allowed(t, all, host{namespace, caller.Labels}, dns, networking.PolicyTypeEgress, protocol, 53) {
			t.Errorf("%s: cannot resolve %s over %s", from, name, protocol)
		}
	}
}

// listenPorts returns the ports that the programs listen on, by "component/port" of the container
// port that must be the same, and the addresses of the chart's Redis.
func listenPorts(t testing.TB, all []runtime.Object) (ports map[string]string, redis []string) {
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

// checkConnections checks that the chart's pods can connect to each other: programs listen on their
// container ports, addresses are those of Services for these ports, and policies allow the
// connections.
func checkConnections(t testing.TB, all []runtime.Object) {
	t.Helper()
	ports, redis := listenPorts(t, all)
	for name, pod := range pods(all) {
		for _, c := range pod.Spec.Containers {
			for _, p := range c.Ports {
				if got := ":" + strconv.Itoa(int(p.ContainerPort)); got != ports[name+"/"+p.Name] {
					t.Errorf("%s: port %s is %s, but the program listens at %s", name, p.Name, got, ports[name+"/"+p.Name])
				}
				delete(ports, name+"/"+p.Name)
			}
		}
	}
	for name := range ports {
		t.Errorf("%s: the container does not declare this port", name)
	}
	for _, address := range redis {
		checkAddress(t, all, "gateway", address, "redis")
	}
	for _, c := range pods(all)["test"].Spec.Containers {
		for _, e := range c.Env {
			if u, err := url.Parse(e.Value); err == nil && (e.Name == "API" || e.Name == "ADMIN") {
				checkAddress(t, all, "test", u.Host, strings.ToLower(e.Name))
			}
		}
	}
	for _, s := range each[*core.Service](all) {
		component := s.Labels["app.kubernetes.io/component"]
		if (component != "gateway") != (s.Spec.ClusterIP == core.ClusterIPNone) || s.Spec.PublishNotReadyAddresses != (component == "admin") {
			t.Errorf("Service %s: its clusterIP is %q, its publishNotReadyAddresses is %v", s.Name, s.Spec.ClusterIP, s.Spec.PublishNotReadyAddresses)
		}
		for _, p := range s.Spec.Ports {
			for name, pod := range pods(all) {
				if _, n := containerPort(pod, p); matches(t, &meta.LabelSelector{MatchLabels: s.Spec.Selector}, pod.Labels) && s.Spec.ClusterIP == core.ClusterIPNone && n != p.Port {
					t.Errorf("Service %s: has port %d, but targets port %d of %s", s.Name, p.Port, n, name)
				}
			}
		}
	}
}

// checkServiceMonitor checks that the ServiceMonitor selects exactly one Service with the admin
// port.
func checkServiceMonitor(t testing.TB, all []runtime.Object) {
	t.Helper()
	for _, m := range each[*monitoring.ServiceMonitor](all) {
		if !slices.Equal(m.Spec.NamespaceSelector.MatchNames, []string{namespace}) || len(m.Spec.Endpoints) != 1 {
			t.Errorf("the ServiceMonitor selects the namespaces %v, with %d endpoints", m.Spec.NamespaceSelector.MatchNames, len(m.Spec.Endpoints))
		}
		scraped := 0
		for _, s := range each[*core.Service](all) {
			if !matches(t, &m.Spec.Selector, s.Labels) {
				continue
			}
			for _, p := range s.Spec.Ports {
				if name, _ := containerPort(pods(all)["gateway"], p); p.Name == m.Spec.Endpoints[0].Port && name == "admin" {
					scraped++
				}
			}
		}
		if scraped != 1 {
			t.Errorf("the ServiceMonitor selects port %s of %d Services, want 1", m.Spec.Endpoints[0].Port, scraped)
		}
	}
}

// checkAdminPaths returns a proof that a running gateway with that admin address serves the paths
// of the probes and of the metrics.
func checkAdminPaths(admin string) proof {
	get := func(t testing.TB, path string) string {
		t.Helper()
		response, err := http.Get("http://" + admin + path)
		must(t, err)
		body, err := io.ReadAll(response.Body)
		must(t, err)
		must(t, response.Body.Close())
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s returns status %d", path, response.StatusCode)
		}
		return string(body)
	}
	return func(t testing.TB, all []runtime.Object) {
		t.Helper()
		c := pods(all)["gateway"].Spec.Containers[0]
		for _, p := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
			if p.HTTPGet.Port.StrVal != "admin" {
				t.Errorf("%s is probed at port %s", p.HTTPGet.Path, p.HTTPGet.Port.String())
			}
			get(t, p.HTTPGet.Path)
		}
		if r, l := c.ReadinessProbe.HTTPGet.Path, c.LivenessProbe.HTTPGet.Path; r != "/readyz" || l != "/livez" {
			t.Errorf("the readiness probe uses %s, the liveness probe %s", r, l)
		}
		for _, m := range each[*monitoring.ServiceMonitor](all) {
			for _, e := range m.Spec.Endpoints {
				if text := get(t, e.Path); !strings.Contains(text, "# TYPE ") {
					t.Errorf("%s returns no metrics", e.Path)
				}
			}
		}
	}
}

// adminOfGateway starts a gateway without its Redis, and returns its admin address when it is
// ready.
func adminOfGateway(t *testing.T) string {
	t.Helper()
	all := objects(t, "small")
	_, admin := startGateway(t, newRedis(t, all), all)
	eventually(t, "the gateway is ready", func() bool {
		response, err := http.Get("http://" + admin + "/readyz")
		return err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK
	})
	return admin
}

// TestConnections: the pods of each example can connect to each other.
func TestConnections(t *testing.T) { everySet(t, checkConnections) }

// TestServiceMonitor: the Prometheus operator finds the admin port of the gateways.
func TestServiceMonitor(t *testing.T) { everySet(t, checkServiceMonitor) }

// TestAdminPaths: a running gateway serves the paths of the probes and of the metrics.
func TestAdminPaths(t *testing.T) {
	everySet(t, checkAdminPaths(adminOfGateway(t)))
}
