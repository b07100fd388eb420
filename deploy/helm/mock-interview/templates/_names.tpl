{{/* Names and labels. */}}

{{- define "mock-interview.services" -}}
payment interview notification
{{- end }}

{{/* The prefix of all names: the release, with the chart's name unless that is part of it. */}}
{{- define "mock-interview.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* The labels by which a component's pods are found; never changed after the installation.
     Argument: (list $ component). */}}
{{- define "mock-interview.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* All labels of a component's objects. Argument: (list $ component). */}}
{{- define "mock-interview.labels" -}}
{{- $root := index . 0 -}}
{{ include "mock-interview.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{/* The image of a component. Argument: (list $ tag), with an empty tag for the chart's. */}}
{{- define "mock-interview.image" -}}
{{- $root := index . 0 -}}
{{- printf "%s:%s" $root.Values.image.repository (index . 1 | default $root.Values.image.tag | default $root.Chart.AppVersion) -}}
{{- end }}

{{/* The Secret of a kind, such as `payment`. Argument: (list $ kind). */}}
{{- define "mock-interview.secret" -}}
{{- $root := index . 0 -}}
{{- $secret := index $root.Values.secrets (index . 1) -}}
{{- $secret.existingSecret | default (printf "%s-%s" (include "mock-interview.fullname" $root) (index . 1 | kebabcase)) -}}
{{- end }}

{{/* The same for a Job, which runs before the chart's Secrets exist: those made from values are
     copied into one that exists while the Jobs run. Argument: (list $ kind). */}}
{{- define "mock-interview.jobSecret" -}}
{{- $root := index . 0 -}}
{{- if (index $root.Values.secrets (index . 1)).data -}}
{{- printf "%s-jobs" (include "mock-interview.fullname" $root) -}}
{{- else -}}
{{- include "mock-interview.secret" . -}}
{{- end -}}
{{- end }}

{{- define "mock-interview.keyRing" -}}
{{- .Values.keyRing.existingConfigMap | default (printf "%s-keys" (include "mock-interview.fullname" .)) -}}
{{- end }}

{{/* A Service's name in any namespace of the cluster. Argument: (list $ service). */}}
{{- define "mock-interview.host" -}}
{{- $root := index . 0 -}}
{{- printf "%s-%s.%s.svc" (include "mock-interview.fullname" $root) (index . 1) $root.Release.Namespace -}}
{{- end }}
