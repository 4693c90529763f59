{{/*
What the operator does to objects in the namespaces that it looks after. Server-side apply is
`patch`, and `create` when the object is new. `e2e/chart` holds these to a table with reasons.
*/}}
{{- define "defs.rules" -}}
- apiGroups: [defs.bpfs.io]
  resources: [defsclusters]
  verbs: [list, watch]
- apiGroups: [defs.bpfs.io]
  resources: [defsnodes, defspairs]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [defs.bpfs.io]
  resources: [defsclusters/status, defsnodes/status, defspairs/status]
  verbs: [patch]
# Owner references with blockOwnerDeletion, where the API server checks who may make these.
- apiGroups: [defs.bpfs.io]
  resources: [defsclusters/finalizers, defsnodes/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods, persistentvolumeclaims, services]
  verbs: [list, watch, create, patch, delete]
# A cluster's keys and its network's file are read at the server itself: by a watch that lags
# behind, a second network could be founded under the first one's nodes.
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.operator.podMonitors }}
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, create, patch]
{{- end }}
{{- if .Values.certManager.enabled }}
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [get, create, patch]
{{- end }}
{{- end -}}

{{- define "defs.subjects" -}}
- kind: ServiceAccount
  name: {{ include "defs.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
