{{/* The gateway's configuration, with what the chart sets. */}}
{{- define "ais.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $server := deepCopy ($config.server | default dict) -}}
{{- $_ := set $server "address" (printf ":%d" (int .Values.ports.api)) -}}
{{- $_ := set $server "adminAddress" (printf ":%d" (int .Values.ports.admin)) -}}
{{- $_ := set $config "server" $server -}}
{{- if .Values.redis.install -}}
{{- $_ := set $config "redis" (dict
      "mode" "standalone"
      "addresses" (list (printf "%s-redis.%s.svc:6379" (include "ais.fullname" .) .Release.Namespace))
      "passwordFile" "/run/secrets/redis/password") -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* What changes with all of the configuration that is not taken over without a restart: API keys are. */}}
{{- define "ais.checksum" -}}
{{- $config := include "ais.config" . | fromYaml -}}
{{- $_ := set $config "clients" (omit ($config.clients | default dict) "apiKeys") -}}
{{- toJson $config | sha256sum -}}
{{- end -}}

{{/*
The name of the ConfigMap: one for each content, API keys apart. A pod of an older ReplicaSet that is replaced during or after an
upgrade starts with the configuration that it was made for.
*/}}
{{- define "ais.configName" -}}
{{- printf "%s-%s" (include "ais.fullname" .) (include "ais.checksum" . | trunc 10) -}}
{{- end -}}

{{/* A duration of Go's in whole seconds, rounded up. */}}
{{- define "ais.seconds" -}}
{{- $zero := toDate "2006-01-02 15:04:05 MST" "2020-01-01 00:00:00 UTC" -}}
{{- sub (mustDateModify . $zero | mustDateModify "999999999ns" | unixEpoch | int64) (unixEpoch $zero | int64) -}}
{{- end -}}

{{/* The longest timeout of a provider, in seconds. */}}
{{- define "ais.timeout" -}}
{{- $longest := 0 -}}
{{- range .Values.config.providers -}}
{{- $longest = max $longest (include "ais.seconds" (.timeout | default "10s") | int64) -}}
{{- end -}}
{{- $longest -}}
{{- end -}}

{{/*
What a gateway needs to end: the pause before it is told to, the time in which it still takes requests (server.drainFor), what it
has to drain (twice the longest timeout and 10 s, in which telemetry is sent too), and 5 s to spare.
*/}}
{{- define "ais.grace" -}}
{{- $drainFor := dig "server" "drainFor" "5s" (.Values.config | default dict) -}}
{{- add .Values.preStopSeconds (include "ais.seconds" $drainFor | int64) (mul 2 (include "ais.timeout" . | int64)) 10 5 -}}
{{- end -}}

{{/* A quantity of memory in bytes. */}}
{{- define "ais.bytes" -}}
{{- $factors := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- mul (regexFind "^[0-9]+" (toString .) | int64) (get $factors (regexFind "[A-Za-z]*$" (toString .)) | int64) -}}
{{- end -}}

{{/* The files that a configuration names, one a line. */}}
{{- define "ais.files" -}}
{{- if kindIs "map" . -}}
{{- range $key, $value := . -}}
{{- if and (hasSuffix "File" $key) (kindIs "string" $value) -}}
{{- printf "%s\n" $value -}}
{{- else -}}
{{- include "ais.files" $value -}}
{{- end -}}
{{- end -}}
{{- else if kindIs "slice" . -}}
{{- range . -}}{{- include "ais.files" . -}}{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The volumes of configuration and secrets, and where they are mounted: whole directories, in which changes are seen. Takes
(list $ name), the name of the ConfigMap.
*/}}
{{- define "ais.volumes" -}}
- name: config
  configMap: {name: {{ index . 1 }}}
{{- with index . 0 }}
{{- range $name, $from := .Values.secrets }}
- name: {{ printf "secret-%s" $name }}
  secret:
    secretName: {{ $from.secret }}
    defaultMode: 0440
    {{- with $from.items }}
    items: {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end }}
{{- if .Values.redis.install }}
- name: secret-redis
  secret:
    secretName: {{ .Values.redis.password.secret }}
    defaultMode: 0440
    items: [{key: {{ .Values.redis.password.key }}, path: password}]
{{- end }}
{{- with .Values.serviceAccount.token }}
{{- if .enabled }}
- name: cluster
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: {{ int64 .expirationSeconds }}
          {{- with .audience }}
          audience: {{ . | quote }}
          {{- end }}
      - configMap:
          name: kube-root-ca.crt
          items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "ais.mounts" -}}
- {name: config, mountPath: /etc/ais-gateway, readOnly: true}
{{- range $name, $_ := .Values.secrets }}
- {name: {{ printf "secret-%s" $name }}, mountPath: {{ printf "/run/secrets/%s" $name }}, readOnly: true}
{{- end }}
{{- if .Values.redis.install }}
- {name: secret-redis, mountPath: /run/secrets/redis, readOnly: true}
{{- end }}
{{- if .Values.serviceAccount.token.enabled }}
- {name: cluster, mountPath: /run/secrets/cluster, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What the program is told by its environment. The proxy is set at the check too, which asks for it. */}}
{{- define "ais.environment" -}}
- name: GOMEMLIMIT
  value: {{ div (mul 4 (include "ais.bytes" .Values.resources.limits.memory | int64)) 5 | toString | quote }}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ printf "%s,%s" "service.instance.id=$(POD_UID),k8s.pod.name=$(POD_NAME),k8s.namespace.name=$(POD_NAMESPACE)"
            (.Values.telemetry.OTEL_RESOURCE_ATTRIBUTES | default "") | trimSuffix "," | quote }}
{{- range $name, $value := omit .Values.telemetry "OTEL_RESOURCE_ATTRIBUTES" }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- with .Values.proxy.https }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.proxy.none }}
- name: NO_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}
