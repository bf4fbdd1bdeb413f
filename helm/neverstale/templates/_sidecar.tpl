{{/* The sidecar's container, wherever it stands: in this chart's pods, in the official chart's, in a kustomize component. */}}

{{/* Variables that say where the application's database and Redis are; both understand them as the application writes them. */}}
{{- define "neverstale.databaseEnv" -}}
- name: DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ required "database.existingSecret names the Secret with the database's URL" .secret }}
      key: {{ .key }}
{{- end }}

{{- define "neverstale.sentinelHosts" -}}
{{- if .Values.redis.bundled.enabled -}}
{{- include "neverstale.redisHosts" . | replace " " "," -}}
{{- else -}}
{{- .Values.redis.sentinelHosts -}}
{{- end -}}
{{- end }}

{{- define "neverstale.hasRedis" -}}
{{- if or .Values.redis.existingSecret .Values.redis.url .Values.redis.bundled.enabled }}true{{ end -}}
{{- end }}

{{/* The URL of Redis under a name: {root, name}. */}}
{{- define "neverstale.redisUrl" -}}
{{- $redis := .root.Values.redis }}
{{- if $redis.existingSecret }}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ $redis.existingSecret }}
      key: {{ $redis.urlKey }}
{{- else if $redis.bundled.enabled }}
- name: {{ .name }}
  value: redis://:$(REDIS_PASSWORD)@neverstale:6379/0
{{- else if $redis.url }}
- name: {{ .name }}
  value: {{ $redis.url | quote }}
{{- end }}
{{- end }}

{{- define "neverstale.redisEnv" -}}
{{- $redis := .Values.redis }}
{{- if gt (len (compact (list $redis.existingSecret $redis.url (ternary "bundled" "" $redis.bundled.enabled)))) 1 }}
{{- fail "set one of redis.existingSecret or redis.url or redis.bundled.enabled" }}
{{- end }}
{{- if and $redis.cluster (include "neverstale.sentinelHosts" .) }}
{{- fail "redis.cluster excludes Sentinels" }}
{{- end }}
{{- if $redis.bundled.enabled }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ required "redis.bundled.existingSecret names the Secret with the password" $redis.bundled.existingSecret }}
      key: {{ $redis.bundled.passwordKey }}
{{- end }}
{{- include "neverstale.redisUrl" (dict "root" . "name" "REDIS_URL") }}
{{- with include "neverstale.sentinelHosts" . }}
- name: REDIS_SENTINEL_HOSTS
  value: {{ . | quote }}
- name: REDIS_SENTINEL_PORT
  value: {{ $redis.sentinelPort | quote }}
{{- end }}
{{- if $redis.cluster }}
- name: REDIS_CLUSTER
  value: "true"
{{- end }}
{{- end }}

{{/* A tree of settings as variables: {prefix, tree}. */}}
{{- define "neverstale.settingsEnv" -}}
{{- $prefix := .prefix -}}
{{- range $key, $value := .tree }}
{{- $name := printf "%s%s" $prefix (upper $key) }}
{{- if kindIs "map" $value }}
{{- include "neverstale.settingsEnv" (dict "prefix" (printf "%s__" $name) "tree" $value) }}
{{- else }}
- name: {{ $name }}
  value: {{ ternary (printf "%d" (int64 $value)) (toString $value) (kindIs "float64" $value) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "neverstale.sidecarEnv" -}}
{{- $database := .Values.database }}
{{- if $database.reader.existingSecret }}
{{- $database = $database.reader }}
{{- end }}
{{- include "neverstale.databaseEnv" (dict "secret" $database.existingSecret "key" $database.urlKey) }}
{{- include "neverstale.redisEnv" . }}
- name: NEVERSTALE_API__LISTEN
  value: "127.0.0.1:{{ .Values.sidecar.apiPort }}"
- name: NEVERSTALE_ADMIN__LISTEN
  value: "0.0.0.0:{{ .Values.sidecar.adminPort }}"
- name: NEVERSTALE_LIFECYCLE__GRACE_PERIOD_SECONDS
  value: {{ .Values.sidecar.graceSeconds | quote }}
{{- if .Values.sidecar.socket }}
- name: NEVERSTALE_API__SOCKET
  value: /run/neverstale/api.sock
{{- end }}
{{- if .Values.sidecar.tokens.existingSecret }}
- name: NEVERSTALE_API__TOKEN_FILE
  value: /etc/neverstale/tokens/{{ .Values.sidecar.tokens.fileKey }}
{{- end }}
{{- if .Values.redis.sealing.existingSecret }}
- name: NEVERSTALE_REDIS__KEY_FILE
  value: /etc/neverstale/sealing/{{ .Values.redis.sealing.fileKey }}
{{- end }}
{{- if .Values.app.secretKey.existingSecret }}
- name: NEVERSTALE_API__SESSION_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ .Values.app.secretKey.existingSecret }}
      key: {{ .Values.app.secretKey.key }}
{{- end }}
{{- include "neverstale.doorEnv" . }}
{{- include "neverstale.meshEnv" . }}
{{- if .Values.collector.enabled }}
- name: NEVERSTALE_TELEMETRY__OTLP__ENDPOINT
  value: "http://{{ include "neverstale.besideName" (dict "root" . "name" "collector") }}:4318"
{{- end }}
{{- include "neverstale.settingsEnv" (dict "prefix" "NEVERSTALE_" "tree" .Values.sidecar.settings) }}
{{- with .Values.sidecar.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "neverstale.sidecar" -}}
- name: neverstale
  image: {{ include "neverstale.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [neverstale]
  args: [serve]
  {{- if .Values.sidecar.native }}
  restartPolicy: Always
  {{- end }}
  env:
    {{- include "neverstale.sidecarEnv" . | trim | nindent 4 }}
  ports:
    - name: admin
      containerPort: {{ .Values.sidecar.adminPort }}
    {{- if .Values.door.enabled }}
    - name: door
      containerPort: {{ .Values.door.port }}
    {{- end }}
    {{- if .Values.mesh.enabled }}
    - name: authz
      containerPort: {{ .Values.mesh.port }}
    {{- end }}
  startupProbe:
    httpGet:
      path: {{ ternary "/startupz" "/livez" (eq .Values.sidecar.startAfter "ready") }}
      port: admin
    periodSeconds: 1
    failureThreshold: 120
  {{- if .Values.sidecar.readinessGate }}
  readinessProbe:
    httpGet:
      path: /readyz
      port: admin
    periodSeconds: 3
    failureThreshold: 3
  {{- end }}
  livenessProbe:
    httpGet:
      path: /livez
      port: admin
    periodSeconds: 10
    timeoutSeconds: 3
    failureThreshold: 3
  {{- if not .Values.sidecar.native }}
  lifecycle:
    preStop:
      exec:
        # As long as the application may take: both are told to end at once, and this one has to be the last.
        command: [/bin/sleep, {{ include "neverstale.appEndSeconds" . | quote }}]
  {{- end }}
  resources:
    {{- toYaml .Values.sidecar.resources | nindent 4 }}
  securityContext:
    {{- toYaml .Values.sidecar.securityContext | nindent 4 }}
  {{- with include "neverstale.sidecarMounts" . | trim }}
  volumeMounts:
    {{- . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "neverstale.sidecarMounts" -}}
{{- if .Values.sidecar.socket }}
- name: neverstale
  mountPath: /run/neverstale
{{- end }}
{{- if .Values.sidecar.tokens.existingSecret }}
- name: neverstale-tokens
  mountPath: /etc/neverstale/tokens
  readOnly: true
{{- end }}
{{- if and .Values.door.enabled .Values.door.tls.existingSecret }}
- name: neverstale-tls
  mountPath: /etc/neverstale/tls
  readOnly: true
{{- end }}
{{- if .Values.redis.sealing.existingSecret }}
- name: neverstale-sealing
  mountPath: /etc/neverstale/sealing
  readOnly: true
{{- end }}
{{- with .Values.sidecar.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "neverstale.sidecarVolumes" -}}
{{- if .Values.sidecar.socket }}
- name: neverstale
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- end }}
{{- if .Values.sidecar.tokens.existingSecret }}
- name: neverstale-tokens
  secret:
    secretName: {{ .Values.sidecar.tokens.existingSecret }}
{{- end }}
{{- if and .Values.door.enabled .Values.door.tls.existingSecret }}
- name: neverstale-tls
  secret:
    secretName: {{ .Values.door.tls.existingSecret }}
{{- end }}
{{- if .Values.redis.sealing.existingSecret }}
- name: neverstale-sealing
  secret:
    secretName: {{ .Values.redis.sealing.existingSecret }}
{{- end }}
{{- end }}

{{/* A container that runs one command against the database as the owner of its tables: {root, name, args}. */}}
{{- define "neverstale.command" -}}
- name: {{ .name }}
  image: {{ include "neverstale.image" .root }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: [neverstale]
  args:
    {{- toYaml .args | nindent 4 }}
  env:
    {{- include "neverstale.databaseEnv" (dict "secret" .root.Values.database.existingSecret "key" .root.Values.database.urlKey) | nindent 4 }}
    {{- with pick .root.Values.sidecar.settings "database" "flavour" }}
    {{- include "neverstale.settingsEnv" (dict "prefix" "NEVERSTALE_" "tree" .) | trim | nindent 4 }}
    {{- end }}
  resources:
    {{- toYaml .root.Values.installation.resources | nindent 4 }}
  securityContext:
    {{- toYaml .root.Values.sidecar.securityContext | nindent 4 }}
  {{- with .root.Values.sidecar.extraVolumeMounts }}
  volumeMounts:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "neverstale.install" -}}
{{- $args := list "install" }}
{{- if not (kindIs "invalid" .Values.installation.leaseMs) }}
{{- $args = concat $args (list "--lease-ms" (printf "%d" (int64 .Values.installation.leaseMs))) }}
{{- end }}
{{- with .Values.installation.readerRole }}
{{- $args = concat $args (list "--reader" .) }}
{{- end }}
{{- include "neverstale.command" (dict "root" . "name" "neverstale-install" "args" $args) }}
{{- end }}
