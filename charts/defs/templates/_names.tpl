{{/* Names, labels and images that several objects must agree on. */}}

{{/* Begins the names of all objects. 40 letters leave room for what is added to it. */}}
{{- define "defs.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "defs.operator" -}}
{{ include "defs.fullname" . }}-operator
{{- end -}}

{{/* Begins the names of objects that belong to no namespace: two releases in two namespaces
must not fight over them. */}}
{{- define "defs.clusterWide" -}}
{{ .Release.Namespace }}-{{ include "defs.fullname" . }}
{{- end -}}

{{- define "defs.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "defs.operator" .) }}
{{- end -}}

{{/* The namespace in which `helm test` makes its cluster: one that the operator looks after. */}}
{{- define "defs.testNamespace" -}}
{{ .Values.watchNamespace | default .Release.Namespace }}
{{- end -}}

{{- define "defs.test" -}}
{{ include "defs.fullname" . | trunc 35 | trimSuffix "-" }}-test
{{- end -}}

{{/* `managed-by` never says defs-operator: what is labelled so the operator takes for its own. */}}
{{- define "defs.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: defs
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: defs
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* What selects the operator's pods and no node's: nodes have another component. Nodes let
in whoever has this name and component, so neither can be set. */}}
{{- define "defs.selector" -}}
app.kubernetes.io/name: defs
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* REPOSITORY[:TAG][@DIGEST] of a dictionary with repository, tag and digest. */}}
{{- define "defs.reference" -}}
{{ .repository }}{{ with .tag }}:{{ . }}{{ end }}{{ with .digest }}@{{ . }}{{ end }}
{{- end -}}

{{- define "defs.image" -}}
{{- $image := .Values.image -}}
{{- $tag := ternary $image.tag ($image.tag | default .Chart.AppVersion) (ne $image.digest "") -}}
{{ include "defs.reference" (dict "repository" $image.repository "tag" $tag "digest" $image.digest) }}
{{- end -}}

{{/* The test's image. With a tag or a digest of its own, the operator's digest is not meant. */}}
{{- define "defs.testImage" -}}
{{- $image := .Values.test.image -}}
{{- if or $image.repository $image.tag $image.digest -}}
{{- $repository := $image.repository | default .Values.image.repository -}}
{{- $default := .Values.image.tag | default .Chart.AppVersion -}}
{{- $tag := ternary $image.tag ($image.tag | default $default) (ne $image.digest "") -}}
{{ include "defs.reference" (dict "repository" $repository "tag" $tag "digest" $image.digest) }}
{{- else -}}
{{ include "defs.image" . }}
{{- end -}}
{{- end -}}
