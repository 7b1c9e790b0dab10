{{- /* Names, labels, the image and defaults that are worked out, as every template writes them. */}}

{{- define "penstock.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "penstock.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- /* What lies in no namespace: two releases of one name must not meet. */}}
{{- define "penstock.clustername" -}}
{{- printf "%s-%s" (include "penstock.namespace" .) (include "penstock.fullname" .) }}
{{- end }}

{{- /* What lies in a namespace: in one that is not the release's own, too, two releases of one name must not meet. Give a list of the root and the namespace. */}}
{{- define "penstock.nameIn" -}}
{{- $root := index . 0 }}
{{- include (eq (index . 1) (include "penstock.namespace" $root) | ternary "penstock.fullname" "penstock.clustername") $root }}
{{- end }}

{{- define "penstock.account" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "penstock.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* The command line finds the daemon's pods by the first of them, so no value changes it; a Deployment's selector can never change. */}}
{{- define "penstock.selectorLabels" -}}
{{- toYaml (dict "app.kubernetes.io/name" "penstock" "app.kubernetes.io/instance" .Release.Name) }}
{{- end }}

{{- define "penstock.metaLabels" -}}
{{- $chart := printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- $parts := dict "app.kubernetes.io/part-of" "penstock" "app.kubernetes.io/managed-by" .Release.Service "helm.sh/chart" $chart }}
{{- toYaml (merge (dict) (.Values.commonLabels | default dict) (dict "app.kubernetes.io/version" .Chart.AppVersion) $parts) }}
{{- end }}

{{- /* The labels of an object, each key once, since many tools refuse one that comes twice. Give a list of the root and of maps of more: what is
selected by wins, then the first map, and those of all objects come last. */}}
{{- define "penstock.labels" -}}
{{- $root := index . 0 }}
{{- $labels := include "penstock.selectorLabels" $root | fromYaml }}
{{- range rest . }}
{{- $labels = merge $labels (. | default dict) }}
{{- end }}
{{- toYaml (merge $labels (include "penstock.metaLabels" $root | fromYaml)) }}
{{- end }}

{{- /* The annotations of an object, if any: those of all, and its own. Give a list of the root and a map. */}}
{{- define "penstock.annotations" -}}
{{- $root := index . 0 }}
{{- with merge (dict) (index . 1) ($root.Values.commonAnnotations | default dict) }}
  {{- print "\n  annotations:" }}
  {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{- define "penstock.image" -}}
{{- $registry := default .Values.image.registry .Values.global.imageRegistry }}
{{- $name := .Values.image.repository }}
{{- if $registry }}{{ $name = printf "%s/%s" (trimSuffix "/" $registry) $name }}{{ end }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $name .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- /* The pod's and the container's security, restricted unless the values say otherwise. */}}
{{- define "penstock.secured" -}}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end }}

{{- /* Rather nowhere that may be taken away: whoever makes up for lost nodes should not be lost with them. */}}
{{- define "penstock.offspot" -}}
nodeAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      preference:
        matchExpressions:
          - {key: karpenter.sh/capacity-type, operator: NotIn, values: [spot]}
          - {key: eks.amazonaws.com/capacityType, operator: NotIn, values: [SPOT]}
          - {key: cloud.google.com/gke-spot, operator: NotIn, values: ["true"]}
          - {key: kubernetes.azure.com/scalesetpriority, operator: NotIn, values: [spot]}
{{- end }}

{{- /* The priority of placeholders as a part of a name: a PriorityClass cannot change its value, so another value is another class. */}}
{{- define "penstock.headroomPriority" -}}
{{- int .Values.headroom.priority | toString | replace "-" "m" }}
{{- end }}

{{- /* The port of the collector of traces. */}}
{{- define "penstock.otlpPort" -}}
{{- $url := urlParse .Values.otel.endpoint }}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) }}
{{- end }}
