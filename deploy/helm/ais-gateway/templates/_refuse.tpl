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
{{- $freshFor := dig "accounts" "freshFor" "10m" $aspsp -}}
{{- $keepFor := dig "accounts" "keepFor" "2160h" $aspsp -}}
{{- if lt (include "ais.seconds" $keepFor | int64) (include "ais.seconds" $freshFor | int64) -}}
{{- $faults = append $faults (printf "config.aspsps[%d].accounts.keepFor: must not be shorter than freshFor (default: 10m)" $i) -}}
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
{{- else -}}
{{- if not $redis.addresses -}}
{{- $faults = append $faults "config.redis.addresses: is missing: give the addresses of your Redis, or redis.install" -}}
{{- end -}}
{{- if .Values.redis.stopped -}}
{{- $faults = append $faults "redis.stopped: there is nothing to stop without redis.install" -}}
{{- end -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "ais.fullname" .)) -}}
{{- $faults = append $faults (printf "fullnameOverride: %s, made of the release's name, cannot be that of a Service: give one" (include "ais.fullname" .)) -}}
{{- end -}}
{{- $proxied := .Values.proxy.https -}}
{{- range .Values.env -}}{{- if eq (upper .name) "HTTPS_PROXY" -}}{{- $proxied = true -}}{{- end -}}{{- end -}}
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
{{- if and .enabled .cpuUtilization (not (dig "requests" "cpu" "" $.Values.resources)) -}}
{{- $faults = append $faults "autoscaling.cpuUtilization: is per cent of resources.requests.cpu, which is missing" -}}
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
{{- if not .dns.to -}}
{{- $faults = append $faults (printf "networkPolicy.dns.to: is empty, and no name could be looked up: %s" $open) -}}
{{- end -}}
{{- range $way, $places := include "ais.ways" $ | fromYaml -}}
{{- $named := index $.Values.networkPolicy $way -}}
{{- if and $places (not $named.to) -}}
{{- $faults = append $faults (printf "networkPolicy.%s.to: is empty, and they could not be reached: %s" $way $open) -}}
{{- end -}}
{{- $ports := list -}}
{{- range $named.ports -}}{{- $ports = append $ports (toString (int .)) -}}{{- end -}}
{{- range $place, $port := $places -}}
{{- if and $port (not (has $port $ports)) -}}
{{- $faults = append $faults (printf "networkPolicy.%s.ports: lacks %s, the port of %s" $way $port $place) -}}
{{- end -}}
{{- end -}}
{{- $more := false -}}
{{- range $ports -}}{{- if not (has . (values $places)) -}}{{- $more = true -}}{{- end -}}{{- end -}}
{{- if and (eq $way "redis") (eq (dig "redis" "mode" "" $.Values.config) "sentinel") (not $more) -}}
{{- $faults = append $faults "networkPolicy.redis.ports: has those of the sentinels alone: name the port of the servers, of which they tell" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $faults -}}
{{- end -}}

{{/*
Which ways out the values need, beside DNS: for each what is to be reached, by the value that says so, and the port ("" where a Secret
says it).
*/}}
{{- define "ais.ways" -}}
{{- $ways := dict "redis" dict "providers" dict "proxy" dict "collector" dict "issuers" dict -}}
{{- if not .Values.redis.install -}}
{{- range $i, $address := (.Values.config.redis | default dict).addresses | default (list "") -}}
{{- $_ := set $ways.redis (printf "config.redis.addresses[%d]" $i) (regexFind "[0-9]+$" $address) -}}
{{- end -}}
{{- end -}}
{{- $proxied := false -}}
{{- range $name, $provider := .Values.config.providers -}}
{{- if eq (.proxy | default "none") "environment" -}}
{{- $proxied = true -}}
{{- else if .baseURL -}}
{{- $_ := set $ways.providers (printf "config.providers.%s.baseURL" $name) (include "ais.port" .baseURL) -}}
{{- end -}}
{{- end -}}
{{- range $i, $aspsp := .Values.config.aspsps -}}
{{- $provider := get $.Values.config.providers .provider | default dict -}}
{{- with (.options | default dict).baseURL -}}
{{- if ne ($provider.proxy | default "none") "environment" -}}
{{- $_ := set $ways.providers (printf "config.aspsps[%d].options.baseURL" $i) (include "ais.port" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $proxied .Values.proxy.https -}}
{{- $_ := set $ways.proxy "proxy.https" (include "ais.port" .Values.proxy.https) -}}
{{- end -}}
{{- range $name, $value := .Values.telemetry -}}
{{- if hasSuffix "_ENDPOINT" $name -}}
{{- $_ := set $ways.collector (printf "telemetry.%s" $name) (include "ais.port" $value) -}}
{{- end -}}
{{- end -}}
{{- range $i, $variable := .Values.env -}}
{{- if and $proxied (eq (upper .name) "HTTPS_PROXY") -}}
{{- $_ := set $ways.proxy (printf "env[%d]" $i) (include "ais.port" (.value | default "")) -}}
{{- else if and (hasPrefix "OTEL_" .name) (hasSuffix "_ENDPOINT" .name) -}}
{{- $_ := set $ways.collector (printf "env[%d]" $i) (include "ais.port" (.value | default "")) -}}
{{- end -}}
{{- end -}}
{{- range $i, $issuer := (.Values.config.clients | default dict).oidc -}}
{{- if .jwksURL -}}
{{- $_ := set $ways.issuers (printf "config.clients.oidc[%d].jwksURL" $i) (include "ais.port" .jwksURL) -}}
{{- else -}}
{{- $_ := set $ways.issuers (printf "config.clients.oidc[%d].issuer" $i) (include "ais.port" .issuer) -}}
{{- end -}}
{{- end -}}
{{- toYaml $ways -}}
{{- end -}}

{{/* The port of a URL, its scheme's where it names none. */}}
{{- define "ais.port" -}}
{{- $port := regexReplaceAll "^([^:/]+://)?[^/?#]*?(:([0-9]+))?([/?#].*)?$" . "${3}" -}}
{{- if regexMatch "^[0-9]+$" $port -}}
{{- $port -}}
{{- else if . -}}
{{- ternary "443" "80" (hasPrefix "https://" .) -}}
{{- end -}}
{{- end -}}
