{{/* Parts of the admission policies. */}}

{{/* Users whom no policy stops, as a list in CEL: the operator, and whom the values name. */}}
{{- define "defs.trusted" -}}
{{- $operator := printf "system:serviceaccount:%s:%s" .Release.Namespace (include "defs.serviceAccount" .) -}}
[{{ range $index, $user := prepend .Values.admissionPolicies.trustedUsers $operator }}{{ if $index }}, {{ end }}'{{ $user }}'{{ end }}]
{{- end -}}

{{- define "defs.notTrusted" -}}
- name: by-somebody-else
  expression: "!(request.userInfo.username in {{ include "defs.trusted" . }})"
{{- end -}}

{{/* Kubernetes' own controllers remove what belonged to something that is gone: an owner, a
namespace. Where they have no accounts of their own they are the controller manager. */}}
{{- define "defs.notGarbage" -}}
- name: not-by-kubernetes-itself
  expression: >-
    request.userInfo.username != 'system:kube-controller-manager' &&
    !(has(request.userInfo.groups) && 'system:serviceaccounts:kube-system' in request.userInfo.groups)
{{- end -}}

{{/* Binds the policy NAME. With one namespace to look after, other namespaces are somebody else's. */}}
{{- define "defs.policyBinding" -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels:
    {{- include "defs.labels" .root | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
  {{- with .root.Values.watchNamespace }}
  matchResources:
    namespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: {{ . }}
  {{- end }}
  {{- with .params }}
  paramRef:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
