{{- define "slipway.labels" -}}
app.kubernetes.io/name: slipway
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "slipway.selector" -}}
app.kubernetes.io/name: slipway
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Restricted Pod Security: no root, nothing writable but what is mounted. */}}
{{- define "slipway.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "slipway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Credentials that survive an upgrade: what the cluster holds, else new ones. */}}
{{- define "slipway.storeCredentials" -}}
{{- $existing := lookup "v1" "Secret" .root.Release.Namespace (printf "%s-store" .root.Release.Name) -}}
{{- $key := printf "%s.secret" .name -}}
{{- if and $existing (hasKey (default dict $existing.data) $key) -}}
{{- index $existing.data $key | b64dec -}}
{{- else -}}
{{- randAlphaNum 40 -}}
{{- end -}}
{{- end }}

{{/* What a schema can't say. */}}
{{- define "slipway.checks" -}}
{{- if gt (len .Release.Name) 40 -}}
{{- fail (printf "the release name %s has %d characters, names derived from it would be too long: take one of at most 40, such as slipway" .Release.Name (len .Release.Name)) -}}
{{- end -}}
{{- with .Values.router.service -}}
{{- if and .nodePorts (eq .type "ClusterIP") -}}
{{- fail "router.service.nodePorts has no meaning with type ClusterIP: set router.service.type to NodePort or LoadBalancer" -}}
{{- end -}}
{{- end -}}
{{- $seen := dict -}}
{{- range .Values.namespaces -}}
{{- if hasKey $seen .name -}}
{{- fail (printf "namespaces lists %s twice: name each namespace once" .name) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- if and $.Values.operator.watchNamespaces (not (has .name $.Values.operator.watchNamespaces)) -}}
{{- fail (printf "namespaces lists %s, which the operator wouldn't look at: add it to operator.watchNamespaces, or leave that empty for all" .name) -}}
{{- end -}}
{{- end -}}
{{- end }}
