{{/* Everything that would not work although each value by itself is well-formed; an error that names all of it. */}}
{{- define "ais.refuse" -}}
{{- $faults := concat (include "ais.refuse.config" . | fromYamlArray) (include "ais.refuse.files" . | fromYamlArray) -}}
{{- if .Values.networkPolicy.enabled -}}
{{- $faults = concat $faults (include "ais.refuse.network" . | fromYamlArray) -}}
{{- end -}}
{{- if $faults -}}
{{- printf "these values cannot work:\n- %s" (join "\n- " $faults) | fail -}}
{{- end -}}
{{- end -}}

{{- define "ais.refuse.config" -}}
{{- $faults := list -}}
{{- $clients := .Values.config.clients | default dict -}}
{{- if not (or $clients.apiKeys $clients.oidc) -}}
{{- $faults = append $faults "config.clients: names nobody who may call: give apiKeys or oidc" -}}
{{- end -}}
{{- range $i, $aspsp := .Values.config.aspsps -}}
{{- if not (hasKey $.Values.config.providers $aspsp.provider) -}}
{{- $faults = append $faults (printf "config.aspsps[%d].provider: names none of config.providers" $i) -}}
{{- end -}}
{{- end -}}
{{- $redis := .Values.config.redis | default dict -}}
{{- if .Values.redis.install -}}
{{- if $redis -}}
{{- $faults = append $faults "config.redis: is set by the chart with redis.install: leave one of both out" -}}
{{- end -}}
{{- if not .Values.redis.password.secret -}}
{{- $faults = append $faults "redis.password.secret: names no Secret, which redis.install needs" -}}
{{- end -}}
{{- if hasKey .Values.secrets "redis" -}}
{{- $faults = append $faults "secrets.redis: its place is taken by redis.password with redis.install" -}}
{{- end -}}
{{- else if not $redis.addresses -}}
{{- $faults = append $faults "config.redis.addresses: is missing: give the addresses of your Redis, or redis.install" -}}
{{- end -}}
{{- $proxied := .Values.proxy.https -}}
{{- range .Values.env -}}{{- if eq .name "HTTPS_PROXY" -}}{{- $proxied = true -}}{{- end -}}{{- end -}}
{{- range $name, $provider := .Values.config.providers -}}
{{- if and (eq ($provider.proxy | default "none") "environment") (not $proxied) -}}
{{- $faults = append $faults (printf "config.providers.%s.proxy: there is no proxy: give proxy.https, or HTTPS_PROXY under env" $name) -}}
{{- end -}}
{{- end -}}
{{- $set := concat (list "GOMEMLIMIT" "POD_NAME" "POD_UID" "POD_NAMESPACE" "OTEL_RESOURCE_ATTRIBUTES") (keys .Values.telemetry) -}}
{{- if .Values.proxy.https -}}{{- $set = append $set "HTTPS_PROXY" -}}{{- end -}}
{{- if .Values.proxy.none -}}{{- $set = append $set "NO_PROXY" -}}{{- end -}}
{{- range $i, $variable := .Values.env -}}
{{- if has $variable.name $set -}}
{{- $faults = append $faults (printf "env[%d]: %s is set already" $i $variable.name) -}}
{{- end -}}
{{- $set = append $set $variable.name -}}
{{- end -}}
{{- if eq (int .Values.ports.api) (int .Values.ports.admin) -}}
{{- $faults = append $faults "ports.admin: is taken by ports.api" -}}
{{- end -}}
{{- with .Values.autoscaling -}}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- $faults = append $faults "autoscaling.maxReplicas: is less than minReplicas" -}}
{{- end -}}
{{- if and .enabled (not .cpuUtilization) (not .activeRequests) -}}
{{- $faults = append $faults "autoscaling: has nothing to go by: give cpuUtilization or activeRequests" -}}
{{- end -}}
{{- end -}}
{{- toYaml $faults -}}
{{- end -}}

{{/* Each file that the configuration names must be mounted, and that of audit records somewhere that can be written. */}}
{{- define "ais.refuse.files" -}}
{{- $faults := list -}}
{{- $mounts := list -}}
{{- range $name, $_ := .Values.secrets -}}
{{- $mounts = append $mounts (printf "/run/secrets/%s" $name) -}}
{{- if eq $name "cluster" -}}
{{- $faults = append $faults "secrets.cluster: is the place of serviceAccount.token: choose another name" -}}
{{- end -}}
{{- end -}}
{{- if .Values.redis.install -}}{{- $mounts = append $mounts "/run/secrets/redis" -}}{{- end -}}
{{- if .Values.serviceAccount.token.enabled -}}{{- $mounts = append $mounts "/run/secrets/cluster" -}}{{- end -}}
{{- $extra := list -}}
{{- range .Values.extraVolumeMounts -}}{{- $extra = append $extra (trimSuffix "/" .mountPath) -}}{{- end -}}
{{- $audit := .Values.config.audit | default dict -}}
{{- $files := include "ais.files" .Values.config | trim | splitList "\n" | uniq | compact -}}
{{- range $file := $files -}}
{{- $mounted := false -}}
{{- range concat $mounts $extra -}}
{{- if or (eq $file .) (hasPrefix (printf "%s/" .) $file) -}}{{- $mounted = true -}}{{- end -}}
{{- end -}}
{{- if not $mounted -}}
{{- $faults = append $faults (printf "config: names %s, which nothing mounts: give secrets the Secret that holds it" $file) -}}
{{- end -}}
{{- end -}}
{{- with $audit.file -}}
{{- $file := . -}}
{{- $writable := false -}}
{{- range $extra -}}
{{- if hasPrefix (printf "%s/" .) $file -}}{{- $writable = true -}}{{- end -}}
{{- end -}}
{{- if not $writable -}}
{{- $faults = append $faults "config.audit.file: the root file system is read-only: mount a volume there, with extraVolumes and extraVolumeMounts" -}}
{{- end -}}
{{- end -}}
{{- toYaml $faults -}}
{{- end -}}

{{/* What the policy closes and the configuration needs. */}}
{{- define "ais.refuse.network" -}}
{{- $faults := list -}}
{{- $open := "say who, or networkPolicy.enabled: false" -}}
{{- with .Values.networkPolicy -}}
{{- if not .callers.from -}}
{{- $faults = append $faults (printf "networkPolicy.callers.from: is empty, and nobody could call: %s" $open) -}}
{{- end -}}
{{- if and $.Values.serviceMonitor.enabled (not .scrapers.from) -}}
{{- $faults = append $faults (printf "networkPolicy.scrapers.from: is empty, and nobody could scrape: %s" $open) -}}
{{- end -}}
{{- $ways := include "ais.ways" $ | fromYaml -}}
{{- range $way, $needed := $ways -}}
{{- if and $needed (not (index $.Values.networkPolicy $way "to")) -}}
{{- $faults = append $faults (printf "networkPolicy.%s.to: is empty, and they could not be reached: %s" $way $open) -}}
{{- end -}}
{{- end -}}
{{- if $ways.redis -}}
{{- $ports := list -}}
{{- range .redis.ports -}}{{- $ports = append $ports (toString (int .)) -}}{{- end -}}
{{- range $i, $address := ($.Values.config.redis | default dict).addresses -}}
{{- if not (has (regexFind "[0-9]+$" $address) $ports) -}}
{{- $faults = append $faults (printf "networkPolicy.redis.ports: lacks the port of config.redis.addresses[%d]" $i) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $faults -}}
{{- end -}}

{{/* Which ways out the values need, beside DNS. */}}
{{- define "ais.ways" -}}
{{- $straight := false -}}
{{- $proxied := false -}}
{{- range .Values.config.providers -}}
{{- if eq (.proxy | default "none") "environment" -}}{{- $proxied = true -}}{{- else -}}{{- $straight = true -}}{{- end -}}
{{- end -}}
{{- $collector := false -}}
{{- range $name, $_ := .Values.telemetry -}}
{{- if hasSuffix "_ENDPOINT" $name -}}{{- $collector = true -}}{{- end -}}
{{- end -}}
redis: {{ not .Values.redis.install }}
providers: {{ $straight }}
proxy: {{ $proxied }}
collector: {{ $collector }}
issuers: {{ not (empty (.Values.config.clients | default dict).oidc) }}
{{- end -}}
