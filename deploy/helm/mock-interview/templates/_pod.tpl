{{/* Parts of pods that all components have. */}}

{{/* What the Pod Security Standard `restricted` demands of a pod. */}}
{{- define "mock-interview.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
# Mounted Secrets are readable by this group.
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "mock-interview.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Where pods run, and with which image pull secrets. */}}
{{- define "mock-interview.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* Certificates to trust, if there are any of the user's own. */}}
{{- define "mock-interview.trustVolume" -}}
{{- with .Values.trust.existingConfigMap }}
- name: trust
  configMap:
    name: {{ . }}
{{- end }}
{{- end }}

{{- define "mock-interview.trustMount" -}}
{{- if .Values.trust.existingConfigMap }}
- name: trust
  mountPath: /run/trust
  readOnly: true
{{- end }}
{{- end }}

{{/* What a probe asks, of liveness or of readiness: gRPC at the port that no flood of calls reaches;
     beside the metrics for a service with a certificate, since Kubernetes' grpc probes know no TLS.
     Argument: (list $ service name path). */}}
{{- define "mock-interview.probe" -}}
{{- if (index (index . 0).Values (index . 1)).tlsSecret -}}
httpGet:
  port: metrics
  path: {{ index . 3 }}
{{- else -}}
grpc:
  port: 50055
  service: {{ index . 2 | quote }}
{{- end }}
{{- end }}

{{/* The settings of a service that values give: those of every service, then its own.
     Argument: (list $ service). */}}
{{- define "mock-interview.givenSettings" -}}
{{- $root := index . 0 -}}
{{- merge (dict) (index $root.Values (index . 1)).settings $root.Values.settings | toYaml -}}
{{- end }}

{{/* Seconds that a service may take to stop, with a reserve for closing its connections.
     Argument: (list $ service). */}}
{{- define "mock-interview.terminationSeconds" -}}
{{- $given := include "mock-interview.givenSettings" . | fromYaml -}}
{{- $calls := get $given "SHUTDOWN_GRACE_SECONDS" | default "10" | float64 | ceil | int -}}
{{- /* Its workers take 15 s at most, then its relay 5 s: runtime/process.py. */ -}}
{{- add (index . 0).Values.preStopSeconds $calls 15 5 10 -}}
{{- end }}

{{/* How often a startup probe may fail, at 2 s: a service waits for its database before it listens.
     Argument: (list $ service). */}}
{{- define "mock-interview.startupFailures" -}}
{{- $given := include "mock-interview.givenSettings" . | fromYaml -}}
{{- $wait := get $given "STARTUP_TIMEOUT_SECONDS" | default "60" | float64 | ceil | int -}}
{{- div (add $wait 20) 2 -}}
{{- end }}

{{/* The keys of a service's Secret that it reads, one per line. Argument: (list $ service). */}}
{{- define "mock-interview.secretKeys" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{ $service }}_database_url
{{ $service }}_auth_signing_key
{{ $service }}_{{ ternary "nats_credentials" "nats_password" $root.Values.nats.credentials }}
{{- if eq $service "payment" }}
payment_provider_secret
{{- if $root.Values.payment.provider.oldSecret }}
payment_provider_secret_old
{{- end }}
{{- end }}
{{- if and (eq $service "notification") $root.Values.notification.smtp.user }}
notification_smtp_password
{{- end }}
{{- end }}
