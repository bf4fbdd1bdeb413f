{{/* Names and labels. */}}

{{- define "neverstale.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "neverstale.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "neverstale.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "neverstale.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "neverstale.selector" -}}
app.kubernetes.io/name: {{ include "neverstale.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "neverstale.labels" -}}
{{ include "neverstale.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The labels of the pods that the sidecar is in: ours, or those of an application that is there already. */}}
{{- define "neverstale.podSelector" -}}
{{- if .Values.app.enabled -}}
{{ include "neverstale.selector" . }}
app.kubernetes.io/component: app
{{- else -}}
{{- if not .Values.app.podLabels }}
{{- fail "app.podLabels says which pods have the sidecar, when app.enabled is false" }}
{{- end -}}
{{ toYaml .Values.app.podLabels }}
{{- end -}}
{{- end }}

{{- define "neverstale.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "neverstale.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{/* An image by digest or tag: {image, default tag}. */}}
{{- define "neverstale.imageOf" -}}
{{- if .image.digest -}}
{{ printf "%s@%s" .image.repository .image.digest }}
{{- else -}}
{{ printf "%s:%s" .image.repository (default .tag .image.tag) }}
{{- end -}}
{{- end }}

{{- define "neverstale.image" -}}
{{ include "neverstale.imageOf" (dict "image" .Values.image "tag" .Chart.AppVersion) }}
{{- end }}
