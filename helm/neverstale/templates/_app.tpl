{{/* Open WebUI's containers and the pod around them. */}}

{{- define "neverstale.appEnv" -}}
{{- include "neverstale.databaseEnv" (dict "secret" .Values.database.existingSecret "key" .Values.database.urlKey) }}
{{- include "neverstale.redisEnv" . }}
{{- if include "neverstale.hasRedis" . }}
- name: ENABLE_WEBSOCKET_SUPPORT
  value: "true"
- name: WEBSOCKET_MANAGER
  value: redis
{{- include "neverstale.redisUrl" (dict "root" . "name" "WEBSOCKET_REDIS_URL") }}
{{- with include "neverstale.sentinelHosts" . }}
- name: WEBSOCKET_SENTINEL_HOSTS
  value: {{ . | quote }}
- name: WEBSOCKET_SENTINEL_PORT
  value: {{ $.Values.redis.sentinelPort | quote }}
{{- end }}
{{- end }}
- name: WEBUI_SECRET_KEY
  valueFrom:
    secretKeyRef:
      name: {{ required "app.secretKey.existingSecret names the Secret with WEBUI_SECRET_KEY, which all replicas share" .Values.app.secretKey.existingSecret }}
      key: {{ .Values.app.secretKey.key }}
{{- end }}

{{- define "neverstale.app" -}}
- name: open-webui
  image: {{ include "neverstale.imageOf" (dict "image" .Values.app.image "tag" "latest") }}
  imagePullPolicy: {{ .Values.app.image.pullPolicy }}
  env:
    {{- include "neverstale.appEnv" . | trim | nindent 4 }}
    {{- include "neverstale.appListens" . | trim | nindent 4 }}
    {{- if .Values.app.migrate.enabled }}
    - name: ENABLE_DB_MIGRATIONS
      value: "false"
    {{- end }}
    {{- with .Values.app.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.app.envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if not .Values.door.enabled }}
  ports:
    - name: http
      containerPort: {{ .Values.app.port }}
  {{- end }}
  startupProbe:
    {{- include "neverstale.appProbe" (dict "root" . "probe" .Values.app.startupProbe "throughDoor" false) | trim | nindent 4 }}
  readinessProbe:
    {{- include "neverstale.appProbe" (dict "root" . "probe" .Values.app.readinessProbe "throughDoor" true) | trim | nindent 4 }}
  livenessProbe:
    {{- include "neverstale.appProbe" (dict "root" . "probe" .Values.app.livenessProbe "throughDoor" false) | trim | nindent 4 }}
  lifecycle:
    preStop:
      exec:
        {{- include "neverstale.appPreStop" . | trim | nindent 8 }}
  resources:
    {{- toYaml .Values.app.resources | nindent 4 }}
  securityContext:
    {{- toYaml .Values.app.securityContext | nindent 4 }}
  volumeMounts:
    - name: data
      mountPath: /app/backend/data
    {{- if .Values.sidecar.socket }}
    - name: neverstale
      mountPath: /run/neverstale
    {{- end }}
    {{- with .Values.app.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "neverstale.migrate" -}}
- name: migrate
  image: {{ include "neverstale.imageOf" (dict "image" .Values.app.image "tag" "latest") }}
  imagePullPolicy: {{ .Values.app.image.pullPolicy }}
  command:
    {{- toYaml .Values.app.migrate.command | nindent 4 }}
  env:
    {{- include "neverstale.appEnv" . | trim | nindent 4 }}
    - name: ENABLE_DB_MIGRATIONS
      value: "true"
    {{- with .Values.app.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  resources:
    {{- toYaml .Values.app.resources | nindent 4 }}
  securityContext:
    {{- toYaml .Values.app.securityContext | nindent 4 }}
  volumeMounts:
    - name: data
      mountPath: /app/backend/data
{{- end }}

{{/* First migrations, then triggers, then the sidecar, then the application; at the end the other way round. */}}
{{- define "neverstale.initContainers" -}}
{{- if .Values.app.migrate.enabled }}
{{ include "neverstale.migrate" . }}
{{- end }}
{{- if eq .Values.installation.mode "initContainer" }}
{{ include "neverstale.install" . }}
{{- end }}
{{- if .Values.sidecar.native }}
{{ include "neverstale.sidecar" . }}
{{- end }}
{{- end }}

{{- define "neverstale.podTemplate" -}}
metadata:
  labels:
    {{- include "neverstale.labels" . | nindent 4 }}
    app.kubernetes.io/component: app
    {{- with .Values.pod.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: open-webui
    {{- with .Values.pod.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "neverstale.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.pod.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.pod.securityContext | nindent 4 }}
  # The application's part and, after it, the sidecar's.
  terminationGracePeriodSeconds: {{ add (include "neverstale.appEndSeconds" .) .Values.sidecar.graceSeconds 5 }}
  {{- with include "neverstale.initContainers" . | trim }}
  initContainers:
    {{- . | nindent 4 }}
  {{- end }}
  containers:
    {{- include "neverstale.app" . | nindent 4 }}
    {{- if not .Values.sidecar.native }}
    {{- include "neverstale.sidecar" . | nindent 4 }}
    {{- end }}
  {{- if .Values.pod.topologySpread.enabled }}
  topologySpreadConstraints:
    {{- range default (list (dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway") (dict "maxSkew" 1 "topologyKey" "topology.kubernetes.io/zone" "whenUnsatisfiable" "ScheduleAnyway")) .Values.pod.topologySpread.constraints }}
    - {{- toYaml . | nindent 6 }}
      labelSelector:
        matchLabels:
          {{- include "neverstale.podSelector" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- range $field := list "nodeSelector" "tolerations" "affinity" }}
  {{- with get $.Values.pod $field }}
  {{ $field }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  volumes:
    {{- if .Values.app.persistence.existingClaim }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ .Values.app.persistence.existingClaim }}
    {{- else if not .Values.app.persistence.enabled }}
    - name: data
      emptyDir: {}
    {{- else if eq .Values.app.kind "Deployment" }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ include "neverstale.fullname" . }}
    {{- end }}
    {{- with include "neverstale.sidecarVolumes" . | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with .Values.app.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "neverstale.claimSpec" -}}
accessModes:
  {{- toYaml .accessModes | nindent 2 }}
{{- with .storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end }}
