package chart_test

import (
	"fmt"
	"slices"
	"testing"

	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// checkPolicies checks that exactly one NetworkPolicy selects each pod, that it restricts both
// directions, and that it allows only named peers and ports.
func checkPolicies(t testing.TB, all []runtime.Object) {
	t.Helper()
	policies := each[*networking.NetworkPolicy](all)
	for name, pod := range pods(all) {
		var selecting []string
		for _, p := range policies {
			if matches(t, &p.Spec.PodSelector, pod.Labels) {
				selecting = append(selecting, p.Name)
			}
		}
		if len(selecting) != 1 {
			t.Errorf("%s is selected by the policies %v", name, selecting)
		}
	}
	for _, p := range policies {
		if len(p.Spec.PolicyTypes) != 2 || p.Spec.PolicyTypes[0] != networking.PolicyTypeIngress || p.Spec.PolicyTypes[1] != networking.PolicyTypeEgress {
			t.Errorf("%s restricts only %v", p.Name, p.Spec.PolicyTypes)
		}
		for _, r := range p.Spec.Ingress {
			checkRule(t, p.Name, r.From, r.Ports)
		}
		for _, r := range p.Spec.Egress {
			checkRule(t, p.Name, r.To, r.Ports)
		}
	}
}

// TestNetworkIsClosed: network policies deny everything by default in both directions.
func TestNetworkIsClosed(t *testing.T) {
	everySet(t, checkPolicies)
}

// checkRule checks that a rule of a policy names its peers and ports.
func checkRule(t testing.TB, policy string, peers []networking.NetworkPolicyPeer, ports []networking.NetworkPolicyPort) {
	t.Helper()
	if len(peers) == 0 || len(ports) == 0 {
		t.Errorf("%s: a rule allows every peer or every port", policy)
	}
	for _, p := range peers {
		if p.IPBlock == nil && p.NamespaceSelector == nil && p.PodSelector == nil {
			t.Errorf("%s: a peer is empty", policy)
		}
	}
	for _, p := range ports {
		if p.Port == nil {
			t.Errorf("%s: a rule allows every port", policy)
		}
	}
}

// TestNetworkOpens: the policies allow exactly the listed connections.
func TestNetworkOpens(t *testing.T) {
	const dns, test = "{kube-system k8s-app=kube-dns} 53", "{app.kubernetes.io/component=test}"
	for name, want := range map[string]struct{ in, out []string }{
		"minimal": {
			in:  []string{"{payments } 8080", test + " 8080 9090"},
			out: []string{dns, "{data app=redis} 6379", "203.0.113.0/24 443"},
		},
		"small": {
			in:  []string{"{} 8080", test + " 8080 9090"},
			out: []string{dns, "{app.kubernetes.io/component=redis} 6379", "198.51.100.0/24 443"},
		},
		"cluster": {
			in:  []string{"{payments } 8080", test + " 8080 9090"},
			out: []string{dns, "192.0.2.0/24 6380", "198.51.100.0/24 443"},
		},
		"full": {
			in: []string{"{payments } 8080", "{monitoring app.kubernetes.io/name=prometheus} 9090", test + " 8080 9090"},
			out: []string{
				dns, "{data } 6379", "{egress } 3128", "{monitoring } 4318", "192.0.2.0/24 10.96.0.1/32 443 6443",
			},
		},
	} {
		p := one[*networking.NetworkPolicy](t, objects(t, name), "gateway")
		var in, out []string
		for _, r := range p.Spec.Ingress {
			in = append(in, describe(r.From, r.Ports))
		}
		for _, r := range p.Spec.Egress {
			out = append(out, describe(r.To, r.Ports))
		}
		if !slices.Equal(in, want.in) || !slices.Equal(out, want.out) {
			t.Errorf("%s: ingress %q, egress %q", name, in, out)
		}
	}
	for _, p := range each[*networking.NetworkPolicy](objects(t, "small")) {
		if p.Labels["app.kubernetes.io/component"] == "redis" && (len(p.Spec.Egress) > 0 || len(p.Spec.Ingress) != 1 ||
			describe(p.Spec.Ingress[0].From, p.Spec.Ingress[0].Ports) != "{app.kubernetes.io/component=gateway} 6379") {
			t.Errorf("Redis must only be open to the gateways: %v", p.Spec)
		}
	}
}

// describe returns a short text for a rule: its peers and ports.
func describe(peers []networking.NetworkPolicyPeer, ports []networking.NetworkPolicyPort) string {
	s := ""
	for _, p := range peers {
		switch {
		case p.IPBlock != nil:
			s += p.IPBlock.CIDR + " "
		case p.NamespaceSelector != nil:
			s += "{" + p.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"] + " "
			if p.PodSelector != nil {
				for k, v := range p.PodSelector.MatchLabels {
					s += k + "=" + v
				}
			}
			s += "} "
		default:
			if c := p.PodSelector.MatchLabels["app.kubernetes.io/component"]; c != "" {
				s += "{app.kubernetes.io/component=" + c + "} "
			} else {
				s += "{} "
			}
		}
	}
	var numbers []string
	for _, p := range ports {
		if n := fmt.Sprint(p.Port.IntVal); !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
		}
	}
	for i, n := range numbers {
		if i > 0 {
			s += " "
		}
		s += n
	}
	return s
}
