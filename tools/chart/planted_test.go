package chart_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A judge hears what a proof finds, and fails no test for it.
type judge struct {
	testing.TB
	said []string
}

func (*judge) Helper() {}

func (j *judge) Error(args ...any)                 { j.said = append(j.said, fmt.Sprint(args...)) }
func (j *judge) Errorf(format string, args ...any) { j.Error(fmt.Sprintf(format, args...)) }
func (j *judge) Fatal(args ...any)                 { j.Error(args...); runtime.Goexit() }
func (j *judge) Fatalf(format string, args ...any) { j.Errorf(format, args...); runtime.Goexit() }

// hear is what a proof finds in manifests.
func hear(t *testing.T, p proof, text string) []string {
	j, done := &judge{TB: t}, make(chan struct{})
	go func() {
		defer close(done)
		p(j, decode(j, text))
	}()
	<-done
	return j.said
}

// proofs are what judges manifests by themselves, with the admin address of a gateway that runs.
func proofs(admin string) map[string]proof {
	return map[string]proof{
		"restricted": restricted, "selected": selected, "rolled": rolled, "told": told, "closed": closed,
		"found": found, "checked": checked, "kept": kept, "reached": reached, "monitored": monitored, "answered": answered(admin),
	}
}

// A fault is one that somebody could make in a template: old is replaced by new wherever it stands
// in the file.
type fault struct {
	name, file, old, new string
	proof, want          string // which proof must find it, and with what words
	set                  set
}

var (
	small = set{name: "small"}
	full  = set{name: "full"}
)

// planted are the faults. Those that no proof found before it was made to are among them.
var planted = []fault{
	{"no group for what is mounted", "_names.tpl", "fsGroup: 65532\n", "", "found", "what is mounted is not the group's", small},
	{"another group", "_names.tpl", "fsGroup: 65532\n", "fsGroup: 1000\n", "found", "what is mounted is not the group's", small},
	{"secrets that nobody can read", "_config.tpl", "defaultMode: 0440", "defaultMode: 0000", "found", "has mode 0000", small},
	{"secrets that their owner alone can read", "_config.tpl", "defaultMode: 0440", "defaultMode: 0400", "found", "has mode 0400", small},
	{"secrets that anybody can read", "_config.tpl", "defaultMode: 0440", "defaultMode: 0444", "found", "is anybody's to read", small},
	{"a password that Redis cannot read", "redis.yaml", "defaultMode: 0440", "defaultMode: 0000", "found", "redis: /run/secrets/redis/password has mode", small},
	{"the configuration elsewhere", "_config.tpl", "mountPath: /etc/ais-gateway,", "mountPath: /etc/gateway,", "found", "lies under no mount", small},
	{"a check after the change", "check.yaml", "helm.sh/hook: pre-install,pre-upgrade", "helm.sh/hook: post-install,post-upgrade", "checked", "the check runs as", small},
	{"a check of another image", "check.yaml", `image: {{ include "ais.image" . | quote }}`, "image: ais-gateway:latest", "checked", "another image", small},
	{"a check without the secrets", "check.yaml", `volumeMounts: {{- include "ais.mounts" . | nindent 12 }}`, "volumeMounts: [{name: config, mountPath: /etc/ais-gateway, readOnly: true}]", "checked", "another image, environment or volumes", small},
	{"a check that is tried again", "check.yaml", "backoffLimit: 0", "backoffLimit: 6", "checked", "tried again", small},
	{"a check whose words nobody sees", "check.yaml", "    helm.sh/hook-output-log-policy: hook-failed,hook-succeeded\n", "", "checked", "the check runs as", small},
	{"a check as an account that is not there yet", "check.yaml", `ternary "default"`, `ternary (include "ais.serviceAccount" .)`, "checked", "the check runs as", small},
	{"a configuration that goes with its release", "configmap.yaml", "helm.sh/resource-policy: keep", "example.com/policy: keep", "kept", "removes the configuration", small},
	{"one ConfigMap for every content", "configmap.yaml", `name: {{ include "ais.configName" . }}`, `name: {{ include "ais.fullname" . }}`, "kept", "the gateways mount", small},
	{"the configuration by another name", "configmap.yaml", "gateway.yaml: |", "config.yaml: |", "found", "has gateway.yaml", small},
	{"another file of the gateway's", "deployment.yaml", "/etc/ais-gateway/gateway.yaml", "/etc/ais-gateway/ais.yaml", "found", "has ais.yaml", small},
	{"another file of the check's", "tests/answers.yaml", "/etc/ais-gateway/gateway.yaml", "/etc/ais-gateway/ais.yaml", "found", "test/check: no ConfigMap", small},
	{"another ConfigMap", "_config.tpl", "configMap: {name: {{ index . 1 }}}", "configMap: {name: other}", "found", "no ConfigMap other", small},
	{"secrets elsewhere", "_config.tpl", `printf "/run/secrets/%s" $name }}, readOnly`, `printf "/run/secret/%s" $name }}, readOnly`, "found", "lies under no mount", small},
	{"the password by another name for gateways", "_config.tpl", "path: password}", "path: pass}", "found", "/run/secrets/redis/password is none of the items", small},
	{"the password by another name for Redis", "redis.yaml", "path: password}", "path: pass}", "found", "redis: /run/secrets/redis/password is none of the items", small},
	{"the cluster's certificate by another name", "_config.tpl", "path: ca.crt}", "path: ca.pem}", "found", "ca.crt is in none of the sources", full},
	{"the cluster's token by another name", "_config.tpl", "path: token\n", "path: jwt\n", "found", "token is in none of the sources", full},
	{"audit records in what cannot be written", "_config.tpl", "{{ toYaml . }}\n{{- end }}\n{{- end -}}\n\n{{/* What the program", "- {name: audit-log, mountPath: /var/log/ais-gateway, readOnly: true}\n{{- end }}\n{{- end -}}\n\n{{/* What the program", "found", "cannot be written", full},
	{"Redis's data elsewhere", "redis.yaml", "mountPath: /data}", "mountPath: /var/lib/redis}", "found", "its data are not kept", small},
	{"Redis writes elsewhere", "redis.yaml", "dir /data", "dir /tmp", "found", "its data are not kept", small},
	{"Redis's data in a copy of the password", "redis.yaml", "name: data, mountPath", "name: password, mountPath", "found", "its data are not kept", small},
	{"a volume that cannot be written", "redis.yaml", "ReadWriteOnce", "ReadOnlyMany", "found", "is claimed as", small},
	{"Redis's data not to be written", "redis.yaml", "mountPath: /data}", "mountPath: /data, readOnly: true}", "found", "cannot be written", small},
	{"a claim that nothing mounts", "redis.yaml", "        name: data\n", "        name: store\n", "found", "data, which is no volume", small},
	{"a script by another name", "redis.yaml", "  start.sh:", "  run.sh:", "found", "has start.sh", small},
	{"Redis's configuration by another name", "redis.yaml", "  redis.conf:", "  main.conf:", "found", "has redis.conf", small},
	{"Redis's files elsewhere", "redis.yaml", "mountPath: /etc/redis,", "mountPath: /etc,", "found", "start.sh", small},

	{"a ServiceMonitor of callers' port", "monitoring.yaml", "port: admin", "port: api", "monitored", "finds port api at 0 Services", full},
	{"a ServiceMonitor of the wrong Service", "monitoring.yaml", `include "ais.selector" (list $ "admin")`, `include "ais.selector" (list $ "gateway")`, "monitored", "at 0 Services", full},
	{"a ServiceMonitor for elsewhere", "monitoring.yaml", "[{{ $.Release.Namespace }}]", "[monitoring]", "monitored", "looks in [monitoring]", full},
	{"metrics at another path", "monitoring.yaml", "path: /metrics", "path: /metric", "answered", "/metric answers 404", full},
	{"a probe at another path", "deployment.yaml", "path: /livez", "path: /healthz", "answered", "/healthz answers 404", small},
	{"ready as soon as alive", "deployment.yaml", "path: /readyz", "path: /livez", "answered", "ready by /livez", small},
	{"a probe at callers' port", "deployment.yaml", "path: /readyz, port: admin", "path: /readyz, port: api", "answered", "asked for at port api", small},

	{"a test that may not reach the API", "tests/answers.yaml", "{protocol: TCP, port: {{ .Values.ports.api }}}, ", "", "reached", "test: its policy closes the way to port 8080", small},
	{"a test that may not reach the admin port", "tests/answers.yaml", ", {protocol: TCP, port: {{ .Values.ports.admin }}}", "", "reached", "test: its policy closes the way to port 9090", small},
	{"a test that may not ask for names", "tests/answers.yaml", `    {{- include "ais.dns" . | trim | nindent 4 }}` + "\n", "", "reached", "test: cannot ask for", small},
	{"gateways that may not ask for names", "networkpolicy.yaml", `    {{- include "ais.dns" $ | trim | nindent 4 }}` + "\n", "", "reached", "gateway: cannot ask for", small},
	{"names by TCP alone", "networkpolicy.yaml", "    - {protocol: UDP, port: {{ . }}}\n", "", "reached", "by UDP", small},
	{"gateways closed to the test", "networkpolicy.yaml", `(list $ "test")`, `(list $ "tests")`, "reached", "the policy of gateway closes port 9090", small},
	{"gateways' admin port closed to the test", "networkpolicy.yaml", ", {protocol: TCP, port: {{ $.Values.ports.admin }}}]", "]", "reached", "the policy of gateway closes port 9090", small},
	{"a test of the API at the admin port", "tests/answers.yaml", "(int .Values.service.port)", "(int .Values.ports.admin)", "reached", "has no port 9090", small},
	{"a test of the API at the admin Service", "tests/answers.yaml", `(include "ais.fullname" .) (int .Values.service.port)`, `(printf "%s-admin" (include "ais.fullname" .)) (int .Values.ports.admin)`, "reached", "leads to port \"admin\"", small},
	{"a test of a Service that is not there", "tests/answers.yaml", "http://%s-admin:%d", "http://%s-metrics:%d", "reached", "there is no Service", small},

	{"an admin Service at another port", "services.yaml", "{name: admin, port: {{ .Values.ports.admin }}", "{name: admin, port: 9999", "reached", "says port 9999", small},
	{"an admin Service with an address", "services.yaml", "  clusterIP: None\n", "", "reached", "each by itself", small},
	{"an admin Service of those that are ready", "services.yaml", "  publishNotReadyAddresses: true\n", "", "reached", "those that are not ready", small},
	{"an API Service to the admin port", "services.yaml", "targetPort: api", "targetPort: admin", "reached", "leads to port \"admin\"", small},
	{"a Service of nobody's port", "services.yaml", "targetPort: api", "targetPort: http", "selected", "no port is called http", small},
	{"a Service of the wrong pods", "services.yaml", `selector: {{- include "ais.selector" (list . "gateway")`, `selector: {{- include "ais.selector" (list . "redis")`, "selected", "service ais-ais-gateway and pod", small},
	{"Redis's Service at another port", "redis.yaml", "{name: redis, port: 6379,", "{name: redis, port: 6380,", "reached", "has no port 6379", small},
	{"Redis's Service by another name", "redis.yaml", "kind: Service\nmetadata:\n  name: {{ $name }}", "kind: Service\nmetadata:\n  name: {{ $name }}-0", "reached", "gateway: there is no Service", small},
	{"Redis's address with another port", "_config.tpl", "svc:6379", "svc:6380", "reached", "has no port 6380", small},
	{"Redis's container at another port", "redis.yaml", "containerPort: 6379", "containerPort: 6380", "reached", "the program listens at :6379", small},
	{"Redis at another port", "redis.yaml", "dir /data\n", "dir /data\nport 6380\n", "reached", "the program listens at :6380", small},
	{"the gateway at another port", "_config.tpl", `(printf ":%d" (int .Values.ports.api))`, `":8081"`, "reached", "the program listens at :8081", small},
	{"the way to Redis closed", "networkpolicy.yaml", "port: 6379", "port: 6380", "reached", "gateway: its policy closes the way to port 6379", small},
	{"Redis closed to gateways", "redis.yaml", `        - podSelector:
            matchLabels: {{- include "ais.selector" (list . "gateway")`, `        - podSelector:
            matchLabels: {{- include "ais.selector" (list . "test")`, "reached", "the policy of redis closes port 6379", small},

	{"a policy of ingress alone", "networkpolicy.yaml", "policyTypes: [Ingress, Egress]", "policyTypes: [Ingress]", "closed", "closes [Ingress] alone", small},
	{"a policy over other pods", "networkpolicy.yaml", `podSelector:
    matchLabels: {{- include "ais.selector" (list $ "gateway")`, `podSelector:
    matchLabels: {{- include "ais.selector" (list $ "redis")`, "closed", "gateway is under []", small},
	{"a root that can be written", "_names.tpl", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "restricted", "can write", small},
	{"more rights", "_names.tpl", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "restricted", "allowPrivilegeEscalation", small},
	{"a token", "deployment.yaml", "automountServiceAccountToken: false", "automountServiceAccountToken: true", "restricted", "a token would be mounted", small},
	{"one gateway less while they are rolled", "deployment.yaml", "maxUnavailable: 0", "maxUnavailable: 1", "rolled", "rolled by", small},
	{"a budget for other pods", "poddisruptionbudget.yaml", `selector" (list . "gateway")`, `selector" (list . "redis")`, "rolled", "other pods", small},
	{"an autoscaler of nothing", "horizontalpodautoscaler.yaml", `    name: {{ include "ais.fullname" $ }}`, "    name: other", "rolled", "what is scaled", full},
	{"replicas beside the autoscaler", "deployment.yaml", "  {{- if not .Values.autoscaling.enabled }}\n  replicas: {{ .Values.replicas }}\n  {{- end }}", "  replicas: {{ .Values.replicas }}", "rolled", "and 1 autoscalers", full},
	{"Go keeps to all of the memory", "_config.tpl", "div (mul 4 ", "div (mul 5 ", "told", "Go keeps to", small},
}

// TestPlanted holds the proofs themselves: each fault, planted in a copy of the chart, is found by
// the proof that is meant to; the chart without it passes them all.
func TestPlanted(t *testing.T) {
	all := proofs(running(t))
	for _, s := range []set{small, full} {
		text, err := render(t, s)
		must(t, err)
		for name, p := range all {
			if said := hear(t, p, text); len(said) > 0 {
				t.Errorf("%s: %s finds without a fault: %q", s.name, name, said)
			}
		}
	}
	t.Run("each", func(t *testing.T) { // and the gateway runs until all are done
		for _, f := range planted {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				said := hear(t, all[f.proof], f.render(t))
				if !strings.Contains(strings.Join(said, "\n"), f.want) {
					t.Errorf("%s does not find it: %q", f.proof, said)
				}
			})
		}
	})
}

// render is what a copy of the chart with the fault makes.
func (f fault) render(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(chart)))
	file := filepath.Join(dir, "templates", f.file)
	before, err := os.ReadFile(file)
	must(t, err)
	after := strings.ReplaceAll(string(before), f.old, f.new)
	if after == string(before) {
		t.Fatalf("%s has no %q", f.file, f.old)
	}
	write(t, file, []byte(after))
	text, err := template(t, release, dir, f.set)
	must(t, err)
	return text
}
