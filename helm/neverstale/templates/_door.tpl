{{/*
The door: where callers come in. Without it that is the application; with it the sidecar, and the application is on loopback, where
nobody gets around the door and no kubelet reaches it.
*/}}

{{- define "neverstale.doorEnv" -}}
{{- if .Values.door.enabled }}
- name: NEVERSTALE_INGRESS__LISTEN
  value: "0.0.0.0:{{ .Values.door.port }}"
- name: NEVERSTALE_INGRESS__UPSTREAM
  value: "http://127.0.0.1:{{ .Values.app.port }}"
{{- with .Values.door.tls.existingSecret }}
- name: NEVERSTALE_INGRESS__TLS_CERT_FILE
  value: /etc/neverstale/tls/{{ $.Values.door.tls.certKey }}
- name: NEVERSTALE_INGRESS__TLS_KEY_FILE
  value: /etc/neverstale/tls/{{ $.Values.door.tls.keyKey }}
{{- end }}
{{- with .Values.door.trustedProxies }}
- name: NEVERSTALE_INGRESS__TRUSTED_PROXIES
  value: {{ join "," . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where a mesh asks. */}}
{{- define "neverstale.meshEnv" -}}
{{- if .Values.mesh.enabled }}
- name: NEVERSTALE_EXT_AUTHZ__LISTEN
  value: "0.0.0.0:{{ .Values.mesh.port }}"
{{- end }}
{{- end }}

{{/* How callers speak to the Service: also the name of its port. */}}
{{- define "neverstale.scheme" -}}
{{- ternary "https" "http" (and .Values.door.enabled (ne .Values.door.tls.existingSecret "")) -}}
{{- end }}

{{/* Where callers come in, by number: a Service finds names of a native sidecar's ports from Kubernetes 1.32 on. */}}
{{- define "neverstale.entrance" -}}
{{- ternary .Values.door.port .Values.app.port .Values.door.enabled -}}
{{- end }}

{{/* What the Service leads to. */}}
{{- define "neverstale.targetPort" -}}
{{- if .Values.door.enabled }}{{ .Values.door.port }}{{ else }}http{{ end -}}
{{- end }}

{{/* The application's address: on loopback, so that nobody gets around the door. */}}
{{- define "neverstale.appListens" -}}
{{- range .Values.app.env }}
{{- if has .name (list "HOST" "PORT") }}
{{- fail (printf "app.env names %s, which the chart sets: app.port, and door.enabled for loopback" .name) }}
{{- end }}
{{- end }}
- name: PORT
  value: {{ .Values.app.port | quote }}
{{- if .Values.door.enabled }}
- name: HOST
  value: 127.0.0.1
{{- end }}
{{- end }}

{{/*
A probe of the application: {root, probe, throughDoor}. Whether it has started and whether it lives is asked of itself, where it listens:
a sidecar that is away or can't decide must not have it restarted. Whether it gets requests is asked where they come in.
*/}}
{{- define "neverstale.appProbe" -}}
{{- $values := .root.Values }}
{{- if and $values.door.enabled (eq (toString (dig "httpGet" "port" "" .probe)) "http") }}
{{- fail "a probe of app asks the port http, which is gone behind the door: leave httpGet out of app.*Probe, or take values with --reset-then-reuse-values" }}
{{- end }}
{{- if or .probe.httpGet .probe.exec .probe.tcpSocket .probe.grpc }}
{{- else if not $values.door.enabled }}
httpGet:
  path: {{ $values.app.healthPath }}
  port: http
{{- else if .throughDoor }}
httpGet:
  path: {{ $values.app.healthPath }}
  port: {{ $values.door.port }}
  scheme: {{ include "neverstale.scheme" .root | upper }}
{{- else }}
exec:
  # As the image's own health check does.
  command: [curl, --fail, --silent, --output, /dev/null, --max-time, {{ .probe.timeoutSeconds | default 1 | quote }}, "http://127.0.0.1:{{ $values.app.port }}{{ $values.app.healthPath }}"]
{{- end }}
{{ toYaml .probe }}
{{- end }}

{{/*
How a pod ends: callers are sent elsewhere, then the door ends the connections that are left, while the application still answers what
came over them. Only then is the application told to end; a door in front of nothing would answer 502.
*/}}
{{- define "neverstale.appPreStop" -}}
{{- $seconds := .Values.app.preStopSeconds }}
{{- if .Values.door.enabled }}
command: [sh, -c, "sleep {{ $seconds }}; curl --silent --max-time 2 --request POST http://127.0.0.1:{{ .Values.sidecar.adminPort }}/drain; sleep 4"]
{{- else }}
command: [sleep, {{ $seconds | quote }}]
{{- end }}
{{- end }}

{{/* How long the application's container may take to end, the drain of the door included. */}}
{{- define "neverstale.appEndSeconds" -}}
{{- add .Values.app.preStopSeconds (ternary 6 0 .Values.door.enabled) .Values.app.drainSeconds -}}
{{- end }}
