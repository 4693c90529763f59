{{/* Annotations of what belongs to the test, with its place in the order. What failed stays, for
people to look at, until the next test. */}}
{{- define "defs.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
