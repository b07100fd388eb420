{{/* The environment of a service. A setting that is a path names its file; a secret value is read from
     the file that <NAME>_FILE names. Argument: (list $ service). */}}
{{- define "mock-interview.environment" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $prefix := upper $service -}}
{{- range $name, $value := include "mock-interview.givenSettings" . | fromYaml }}
{{ $prefix }}_{{ $name }}: {{ $value | quote }}
{{- end }}
{{ $prefix }}_LISTEN: {{ printf "%s:50051" $root.Values.listenHost | quote }}
{{ $prefix }}_INTERNAL_LISTEN: {{ printf "%s:50055" $root.Values.listenHost | quote }}
{{ $prefix }}_METRICS_LISTEN: {{ printf "%s:9464" $root.Values.listenHost | quote }}
{{- if (index $root.Values $service).tlsSecret }}
{{ $prefix }}_TLS_CERTIFICATE: /run/tls/tls.crt
{{ $prefix }}_TLS_KEY: /run/tls/tls.key
{{- end }}
{{ $prefix }}_NATS_URL: {{ $root.Values.nats.url | quote }}
{{- if not $root.Values.nats.credentials }}
{{ $prefix }}_NATS_USER: {{ $service }}
{{- end }}
{{ $prefix }}_AUTH_KEYS: /run/keys/keys.json
{{- with $root.Values.authIssuers }}
{{ $prefix }}_AUTH_ISSUERS: {{ toJson . | quote }}
{{- end }}
{{- range $key := include "mock-interview.secretKeys" . | splitList "\n" }}
{{- $isPath := or (hasSuffix "_key" $key) (hasSuffix "_credentials" $key) }}
{{ upper $key }}{{ ternary "" "_FILE" $isPath }}: /run/secrets/{{ $key }}
{{- end }}
{{- if eq $service "payment" }}
PAYMENT_PROVIDER_TARGET: {{ include "mock-interview.providerTarget" $root | quote }}
{{- else if eq $service "interview" }}
{{- if and $root.Values.payment.tlsSecret (not (include "mock-interview.tlsRoots" $root)) }}
{{- fail "payment.tlsSecret needs settings.TLS_ROOTS, by which interview trusts payment" }}
{{- end }}
# All pods of payment: the client balances its calls between them (round_robin).
INTERVIEW_PAYMENT_TARGET: dns:///{{ include "mock-interview.host" (list $root "payment-pods") }}:50055
{{- else }}
NOTIFICATION_SMTP_HOST: {{ required "notification.smtp.host is required" $root.Values.notification.smtp.host | quote }}
NOTIFICATION_SMTP_PORT: {{ $root.Values.notification.smtp.port | quote }}
NOTIFICATION_SMTP_TLS: {{ $root.Values.notification.smtp.tls | quote }}
{{- with $root.Values.notification.smtp.user }}
NOTIFICATION_SMTP_USER: {{ . | quote }}
{{- end }}
NOTIFICATION_MAIL_FROM: {{ required "notification.mailFrom is required" $root.Values.notification.mailFrom | quote }}
{{- end }}
{{- end }}

{{/* The file of the roots by which payment is trusted. */}}
{{- define "mock-interview.tlsRoots" -}}
{{- get (include "mock-interview.givenSettings" (list . "interview") | fromYaml) "TLS_ROOTS" -}}
{{- end }}

{{- define "mock-interview.providerTarget" -}}
{{- if .Values.sandboxProvider.enabled -}}
{{- printf "%s:50054" (include "mock-interview.host" (list . "sandbox-provider")) -}}
{{- else -}}
{{- required "payment.provider.target is required, or sandboxProvider.enabled for a trial" .Values.payment.provider.target -}}
{{- end -}}
{{- end }}
