{{/* Restricted pod security: nobody of the machine, nothing to write to, no capability. The
same as the operator gives to nodes. */}}

{{- define "defs.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "defs.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
    - ALL
{{- end -}}

{{/* The address of --listen: IPv6 goes into brackets. */}}
{{- define "defs.listen" -}}
{{- $address := .Values.listenAddress -}}
{{- if contains ":" $address }}[{{ $address }}]{{ else }}{{ $address }}{{ end }}:8080
{{- end -}}

{{/* What OpenTelemetry's SDKs read. Who it is comes from the pod itself. */}}
{{- define "defs.telemetryEnv" -}}
{{- with .Values.telemetry.otlp -}}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: POD_UID
  valueFrom:
    fieldRef:
      fieldPath: metadata.uid
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME),k8s.pod.uid=$(POD_UID),k8s.node.name=$(NODE_NAME),k8s.container.name=operator,k8s.deployment.name={{ include "defs.operator" $ }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ .protocol | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .sampling | quote }}
{{- end -}}
{{- end -}}

{{/* The collector's port, as the address says it or its scheme means it. */}}
{{- define "defs.telemetryPort" -}}
{{- $address := urlParse .Values.telemetry.otlp.endpoint -}}
{{- $said := regexFind ":[0-9]+$" $address.host | trimPrefix ":" -}}
{{ $said | default (ternary "443" "80" (eq $address.scheme "https")) }}
{{- end -}}
