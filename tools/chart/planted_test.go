package chart_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A recorder is a testing.TB that records the failures of a proof and does not fail the test.
type recorder struct {
	testing.TB
	failures []string
}

func (*recorder) Helper() {}

func (r *recorder) Error(args ...any)                 { r.failures = append(r.failures, fmt.Sprint(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.Error(fmt.Sprintf(format, args...)) }
func (r *recorder) Fatal(args ...any)                 { r.Error(args...); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...); runtime.Goexit() }

// failures returns the failures that a proof reports for manifests.
func failures(t *testing.T, p proof, text string) []string {
	r, done := &recorder{TB: t}, make(chan struct{})
	go func() {
		defer close(done)
		p(r, decode(r, text))
	}()
	<-done
	return r.failures
}

// proofs returns all proofs by name. admin is the admin address of a running gateway.
func proofs(admin string) map[string]proof {
	return map[string]proof{
		"pod security": checkPodSecurity, "selectors": checkSelectors, "rollout": checkRollout, "environment": checkEnvironment,
		"policies": checkPolicies, "files": checkFiles, "hook": checkHook, "config map": checkConfigMap,
		"connections": checkConnections, "service monitor": checkServiceMonitor, "admin paths": checkAdminPaths(admin),
	}
}

// A fault is a possible mistake in a template: each occurrence of old in the file is replaced by
// new.
type fault struct {
	name, file, old, new string
	proof, want          string // the proof that must fail, and a part of its message
	set                  set
}

var (
	small = set{name: "small"}
	full  = set{name: "full"}
)

// planted lists the faults that TestProofsFindFaults plants.
var planted = []fault{
	{"no group for mounted files", "_names.tpl", "fsGroup: 65532\n", "", "files", "the mounted files do not belong to the group", small},
	{"another group", "_names.tpl", "fsGroup: 65532\n", "fsGroup: 1000\n", "files", "the mounted files do not belong to the group", small},
	{"secrets that no user can read", "_config.tpl", "defaultMode: 0440", "defaultMode: 0000", "files", "has mode 0000", small},
	{"secrets that only their owner can read", "_config.tpl", "defaultMode: 0440", "defaultMode: 0400", "files", "has mode 0400", small},
	{"secrets that every user can read", "_config.tpl", "defaultMode: 0440", "defaultMode: 0444", "files", "every user can read Secret", small},
	{"a password that Redis cannot read", "redis.yaml", "defaultMode: 0440", "defaultMode: 0000", "files", "redis: /run/secrets/redis/password has mode", small},
	{"the configuration elsewhere", "_config.tpl", "mountPath: /etc/ais-gateway,", "mountPath: /etc/gateway,", "files", "is not below a mount", small},
	{"a check after the change", "check.yaml", "helm.sh/hook: pre-install,pre-upgrade", "helm.sh/hook: post-install,post-upgrade", "hook", "the check has the annotations", small},
	{"a check of another image", "check.yaml", `image: {{ include "ais.image" . | quote }}`, "image: ais-gateway:latest", "hook", "the image, environment or volumes of the check differ", small},
	{"a check without the secrets", "check.yaml", `volumeMounts: {{- include "ais.mounts" . | nindent 12 }}`, "volumeMounts: [{name: config, mountPath: /etc/ais-gateway, readOnly: true}]", "hook", "the image, environment or volumes of the check differ", small},
	{"a check that is retried", "check.yaml", "backoffLimit: 0", "backoffLimit: 6", "hook", "the check is retried", small},
	{"a check whose output is not printed", "check.yaml", "    helm.sh/hook-output-log-policy: hook-failed,hook-succeeded\n", "", "hook", "the check has the annotations", small},
	{"a check with an account that does not exist yet", "check.yaml", `ternary "default"`, `ternary (include "ais.serviceAccount" .)`, "hook", "the check runs as", small},
	{"a configuration that is deleted with its release", "configmap.yaml", "helm.sh/resource-policy: keep", "example.com/policy: keep", "config map", "Helm deletes the ConfigMap of older pods", small},
	{"one ConfigMap for all contents", "configmap.yaml", `name: {{ include "ais.configName" . }}`, `name: {{ include "ais.fullname" . }}`, "config map", "the gateways mount ConfigMap", small},
	{"the configuration by another name", "configmap.yaml", "gateway.yaml: |", "config.yaml: |", "files", "with the key gateway.yaml", small},
	{"another file of the gateway's", "deployment.yaml", "/etc/ais-gateway/gateway.yaml", "/etc/ais-gateway/ais.yaml", "files", "with the key ais.yaml", small},
	{"another file of the check's", "tests/answers.yaml", "/etc/ais-gateway/gateway.yaml", "/etc/ais-gateway/ais.yaml", "files", "test/check: there is no ConfigMap", small},
	{"another ConfigMap", "_config.tpl", "configMap: {name: {{ index . 1 }}}", "configMap: {name: other}", "files", "there is no ConfigMap other", small},
	{"secrets elsewhere", "_config.tpl", `printf "/run/secrets/%s" $name }}, readOnly`, `printf "/run/secret/%s" $name }}, readOnly`, "files", "is not below a mount", small},
	{"the password by another name for gateways", "_config.tpl", "path: password}", "path: pass}", "files", "/run/secrets/redis/password is not one of the items", small},
	{"the password by another name for Redis", "redis.yaml", "path: password}", "path: pass}", "files", "redis: /run/secrets/redis/password is not one of the items", small},
	{"the cluster's certificate by another name", "_config.tpl", "path: ca.crt}", "path: ca.pem}", "files", "ca.crt is not in the sources", full},
	{"the cluster's token by another name", "_config.tpl", "path: token\n", "path: jwt\n", "files", "token is not in the sources", full},
	{"audit records in a read-only directory", "_config.tpl", "{{ toYaml . }}\n{{- end }}\n{{- end -}}\n\n{{/* What the program", "- {name: audit-log, mountPath: /var/log/ais-gateway, readOnly: true}\n{{- end }}\n{{- end -}}\n\n{{/* What the program", "files", "cannot be written", full},
	{"Redis's data elsewhere", "redis.yaml", "mountPath: /data}", "mountPath: /var/lib/redis}", "files", "the data do not survive the pod", small},
	{"Redis writes elsewhere", "redis.yaml", "dir /data", "dir /tmp", "files", "the data do not survive the pod", small},
	{"Redis's data in a copy of the password", "redis.yaml", "name: data, mountPath", "name: password, mountPath", "files", "the data do not survive the pod", small},
	{"a volume that cannot be written", "redis.yaml", "ReadWriteOnce", "ReadOnlyMany", "files", "is claimed with the access modes", small},
	{"Redis's data mounted read-only", "redis.yaml", "mountPath: /data}", "mountPath: /data, readOnly: true}", "files", "cannot be written", small},
	{"a claim that nothing mounts", "redis.yaml", "        name: data\n", "        name: store\n", "files", "data, which is no volume", small},
	{"a script by another name", "redis.yaml", "  start.sh:", "  run.sh:", "files", "with the key start.sh", small},
	{"Redis's configuration by another name", "redis.yaml", "  redis.conf:", "  main.conf:", "files", "with the key redis.conf", small},
	{"Redis's files elsewhere", "redis.yaml", "mountPath: /etc/redis,", "mountPath: /etc,", "files", "start.sh", small},

	{"a ServiceMonitor of the API port", "monitoring.yaml", "port: admin", "port: api", "service monitor", "selects port api of 0 Services", full},
	{"a ServiceMonitor of the wrong Service", "monitoring.yaml", `include "ais.selector" (list $ "admin")`, `include "ais.selector" (list $ "gateway")`, "service monitor", "of 0 Services", full},
	{"a ServiceMonitor for another namespace", "monitoring.yaml", "[{{ $.Release.Namespace }}]", "[monitoring]", "service monitor", "selects the namespaces [monitoring]", full},
	{"metrics at another path", "monitoring.yaml", "path: /metrics", "path: /metric", "admin paths", "/metric returns status 404", full},
	{"a probe at another path", "deployment.yaml", "path: /livez", "path: /healthz", "admin paths", "/healthz returns status 404", small},
	{"ready as soon as alive", "deployment.yaml", "path: /readyz", "path: /livez", "admin paths", "the readiness probe uses /livez", small},
	{"a probe at the API port", "deployment.yaml", "path: /readyz, port: admin", "path: /readyz, port: api", "admin paths", "is probed at port api", small},

	{"a test without access to the API", "tests/answers.yaml", "{protocol: TCP, port: {{ .Values.ports.api }}}, ", "", "connections", "test: its policy denies egress to port 8080", small},
	{"a test without access to the admin port", "tests/answers.yaml", ", {protocol: TCP, port: {{ .Values.ports.admin }}}", "", "connections", "test: its policy denies egress to port 9090", small},
	{"a test without access to DNS", "tests/answers.yaml", `    {{- include "ais.dns" . | trim | nindent 4 }}` + "\n", "", "connections", "test: cannot resolve", small},
	{"gateways without access to DNS", "networkpolicy.yaml", `    {{- include "ais.dns" $ | trim | nindent 4 }}` + "\n", "", "connections", "gateway: cannot resolve", small},
	{"DNS only over TCP", "networkpolicy.yaml", "    - {protocol: UDP, port: {{ . }}}\n", "", "connections", "over UDP", small},
	{"gateways closed to the test", "networkpolicy.yaml", `(list $ "test")`, `(list $ "tests")`, "connections", "the policy of gateway denies ingress to port 9090", small},
	{"gateways' admin port closed to the test", "networkpolicy.yaml", ", {protocol: TCP, port: {{ $.Values.ports.admin }}}]", "]", "connections", "the policy of gateway denies ingress to port 9090", small},
	{"a test of the API at the admin port", "tests/answers.yaml", "(int .Values.service.port)", "(int .Values.ports.admin)", "connections", "has no port 9090", small},
	{"a test of the API at the admin Service", "tests/answers.yaml", `(include "ais.fullname" .) (int .Values.service.port)`, `(printf "%s-admin" (include "ais.fullname" .)) (int .Values.ports.admin)`, "connections", "targets port \"admin\"", small},
	{"a test of a Service that does not exist", "tests/answers.yaml", "http://%s-admin:%d", "http://%s-metrics:%d", "connections", "there is no Service", small},

	{"an admin Service at another port", "services.yaml", "{name: admin, port: {{ .Values.ports.admin }}", "{name: admin, port: 9999", "connections", "has port 9999", small},
	{"an admin Service with a cluster IP", "services.yaml", "  clusterIP: None\n", "", "connections", "its clusterIP is", small},
	{"an admin Service with only ready pods", "services.yaml", "  publishNotReadyAddresses: true\n", "", "connections", "its publishNotReadyAddresses is", small},
	{"an API Service to the admin port", "services.yaml", "targetPort: api", "targetPort: admin", "connections", "targets port \"admin\"", small},
	{"a Service with an unknown port", "services.yaml", "targetPort: api", "targetPort: http", "selectors", "no port named http", small},
	{"a Service of the wrong pods", "services.yaml", `selector: {{- include "ais.selector" (list . "gateway")`, `selector: {{- include "ais.selector" (list . "redis")`, "selectors", "Service ais-ais-gateway selects pod", small},
	{"Redis's Service at another port", "redis.yaml", "{name: redis, port: 6379,", "{name: redis, port: 6380,", "connections", "has no port 6379", small},
	{"Redis's Service by another name", "redis.yaml", "kind: Service\nmetadata:\n  name: {{ $name }}", "kind: Service\nmetadata:\n  name: {{ $name }}-0", "connections", "gateway: there is no Service", small},
	{"Redis's address with another port", "_config.tpl", "svc:6379", "svc:6380", "connections", "has no port 6380", small},
	{"Redis's container at another port", "redis.yaml", "containerPort: 6379", "containerPort: 6380", "connections", "the program listens at :6379", small},
	{"Redis at another port", "redis.yaml", "dir /data\n", "dir /data\nport 6380\n", "connections", "the program listens at :6380", small},
	{"the gateway at another port", "_config.tpl", `(printf ":%d" (int .Values.ports.api))`, `":8081"`, "connections", "the program listens at :8081", small},
	{"egress to Redis denied", "networkpolicy.yaml", "port: 6379", "port: 6380", "connections", "gateway: its policy denies egress to port 6379", small},
	{"Redis closed to gateways", "redis.yaml", `        - podSelector:
            matchLabels: {{- include "ais.selector" (list . "gateway")`, `        - podSelector:
            matchLabels: {{- include "ais.selector" (list . "test")`, "connections", "the policy of redis denies ingress to port 6379", small},

	{"a policy only for ingress", "networkpolicy.yaml", "policyTypes: [Ingress, Egress]", "policyTypes: [Ingress]", "policies", "restricts only [Ingress]", small},
	{"a policy over other pods", "networkpolicy.yaml", `podSelector:
    matchLabels: {{- include "ais.selector" (list $ "gateway")`, `podSelector:
    matchLabels: {{- include "ais.selector" (list $ "redis")`, "policies", "gateway is selected by the policies []", small},
	{"a writable root file system", "_names.tpl", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "pod security", "the root file system is writable", small},
	{"privilege escalation", "_names.tpl", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "pod security", "allowPrivilegeEscalation", small},
	{"a token", "deployment.yaml", "automountServiceAccountToken: false", "automountServiceAccountToken: true", "pod security", "a token is mounted", small},
	{"one gateway less during a rollout", "deployment.yaml", "maxUnavailable: 0", "maxUnavailable: 1", "rollout", "the rolling update has", small},
	{"a budget for other pods", "poddisruptionbudget.yaml", `selector" (list . "gateway")`, `selector" (list . "redis")`, "rollout", "the disruption budget selects the wrong pods", small},
	{"an autoscaler of another Deployment", "horizontalpodautoscaler.yaml", `    name: {{ include "ais.fullname" $ }}`, "    name: other", "rollout", "the autoscaler scales", full},
	{"replicas in addition to the autoscaler", "deployment.yaml", "  {{- if not .Values.autoscaling.enabled }}\n  replicas: {{ .Values.replicas }}\n  {{- end }}", "  replicas: {{ .Values.replicas }}", "rollout", "and 1 autoscalers", full},
	{"GOMEMLIMIT equal to the memory limit", "_config.tpl", "div (mul 4 ", "div (mul 5 ", "environment", "with a memory limit of", small},
}

// TestProofsFindFaults: the proofs find nothing in the chart, and the named proof finds each fault
// that is planted in a copy of the chart.
func TestProofsFindFaults(t *testing.T) {
	all := proofs(adminOfGateway(t))
	for _, s := range []set{small, full} {
		text, err := render(t, s)
		must(t, err)
		for name, p := range all {
			if found := failures(t, p, text); len(found) > 0 {
				t.Errorf("%s: without a fault, the proof %q fails: %q", s.name, name, found)
			}
		}
	}
	t.Run("each", func(t *testing.T) { // a group, because the gateway must run until all subtests are done
		for _, f := range planted {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				found := failures(t, all[f.proof], f.render(t))
				if !strings.Contains(strings.Join(found, "\n"), f.want) {
					t.Errorf("the proof %q does not find the fault: %q", f.proof, found)
				}
			})
		}
	})
}

// render renders a copy of the chart with the fault.
func (f fault) render(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(chart)))
	file := filepath.Join(dir, "templates", f.file)
	before, err := os.ReadFile(file)
	must(t, err)
	after := strings.ReplaceAll(string(before), f.old, f.new)
	if after == string(before) {
		t.Fatalf("%s does not contain %q", f.file, f.old)
	}
	write(t, file, []byte(after))
	text, err := template(t, release, dir, f.set)
	must(t, err)
	return text
}
