{{/* Jobs that run before the services, and once more at each upgrade. */}}

{{/* Annotations of a hook. What the Jobs need is deleted with the last hook that succeeded; the Jobs
     stay, with their logs, until the next ones replace them. Argument: (list events weight delete). */}}
{{- define "mock-interview.hook" -}}
helm.sh/hook: {{ index . 0 }}
helm.sh/hook-weight: {{ index . 1 | quote }}
helm.sh/hook-delete-policy: {{ index . 2 }}
{{- end }}

{{/* Events of the hooks of all Jobs, and of what they need. */}}
{{- define "mock-interview.jobEvents" -}}
pre-install,pre-upgrade,post-upgrade
{{- end }}

{{/* One Job. `secrets` lists (kind key) of the Secrets to mount.
     Argument: dict root name events weight command environment secrets. */}}
{{- define "mock-interview.job" -}}
{{- $root := .root }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "mock-interview.fullname" $root }}-{{ .name }}
  labels: {{- include "mock-interview.labels" (list $root "jobs") | nindent 4 }}
  annotations: {{- include "mock-interview.hook" (list .events .weight "before-hook-creation") | nindent 4 }}
spec:
  backoffLimit: {{ $root.Values.jobs.backoffLimit }}
  activeDeadlineSeconds: {{ $root.Values.jobs.activeDeadlineSeconds }}
  template:
    metadata:
      labels: {{- include "mock-interview.labels" (list $root "jobs") | nindent 8 }}
    spec:
      # One that fails is tried again in a new pod, so that its log stays.
      restartPolicy: Never
      serviceAccountName: {{ include "mock-interview.fullname" $root }}-jobs
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext: {{- include "mock-interview.podSecurity" $root | nindent 8 }}
      {{- include "mock-interview.placement" $root | nindent 6 }}
      containers:
        - name: {{ .name }}
          image: {{ include "mock-interview.image" (list $root "") }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          command: {{- toYaml .command | nindent 12 }}
          env:
            {{- range $name, $value := .environment }}
            - name: {{ $name }}
              value: {{ $value | quote }}
            {{- end }}
            {{- range $secret := .secrets }}
            - name: {{ upper (index $secret 1) }}{{ ternary "" "_FILE" (hasSuffix "_credentials" (index $secret 1)) }}
              value: /run/secrets/{{ index $secret 1 }}
            {{- end }}
          resources: {{- toYaml $root.Values.jobs.resources | nindent 12 }}
          securityContext: {{- include "mock-interview.containerSecurity" $root | nindent 12 }}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
            - name: secrets
              mountPath: /run/secrets
              readOnly: true
            {{- include "mock-interview.trustMount" $root | nindent 12 }}
      volumes:
        - name: tmp
          emptyDir:
            sizeLimit: 64Mi
        - name: secrets
          projected:
            defaultMode: 0440
            sources:
              {{- range $secret := .secrets }}
              - secret:
                  name: {{ include "mock-interview.jobSecret" (list $root (index $secret 0)) }}
                  items:
                    - key: {{ index $secret 1 }}
                      path: {{ index $secret 1 }}
              {{- end }}
        {{- include "mock-interview.trustVolume" $root | nindent 8 }}
{{- end }}
