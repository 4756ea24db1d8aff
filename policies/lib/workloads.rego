# METADATA
# title: Workloads of a release
# description: >-
#   Every object with a pod spec, and what in the release belongs to it: the
#   Services and disruption budgets that select its pods, and its autoscaler.
#   For rules that are asked once per release.
package lib.workloads

import data.lib.objects
import data.lib.pods
import data.lib.release

# all is every workload, with its pods' spec, labels and annotations.
all := [workload |
	some o in input.objects
	some pod in pods.specs_of(o)
	metadata := metadata_of(o, pod)
	workload := {
		"object": o,
		"kind": objects.kind_key(o),
		"namespace": objects.namespace_of(o),
		"pod": pod,
		"labels": texts(metadata, "labels"),
		"annotations": texts(metadata, "annotations"),
	}
]

# running are the workloads that are meant to go on: no Jobs, and nothing that
# ends by itself.
running := [workload |
	some workload in all
	kind := workload.kind
	not kind in data.params.finite_kinds
	object.get(workload.pod.spec, "restartPolicy", "Always") == "Always"
]

# replicated are those that run as often as somebody says.
replicated := [workload |
	some workload in running
	workload.kind in data.params.replicated_kinds
]

metadata_of(o, pod) := metadata if {
	metadata := pods.metadata_of(o, pod)
	is_object(metadata)
} else := {}

texts(metadata, field) := {name: value |
	some name, value in object.get(metadata, field, {})
	is_string(value)
}

# declared is what an annotation of the workload or of its pods says; "" for
# nothing. The pods' own counts first.
declared(workload, name) := text if {
	text := trim_space(workload.annotations[name])
	text != ""
} else := release.annotation(workload.object, name)

# services that send connections to the workload's pods.
services(workload) := {objects.ref(s) | some s in selecting(workload)}

# service_ports of these Services, by name.
service_ports(workload) := {name |
	some s in selecting(workload)
	some port in s.spec.ports
	name := port.name
	is_string(name)
}

selecting(workload) := [s |
	places := service_index[workload.namespace]
	some name, value in workload.labels
	some s in places[name][value]
	selects({"matchLabels": s.spec.selector}, workload.labels)
]

# Each index is made once; asked for one key, the sets below would be made for
# that key alone, again and again. What selects pods stands at one of the labels
# that it wants, the most telling one by the usual names; at "" where it wants
# none.
service_index := service_places

budget_index := budget_places

scaler_index := scalers

service_places[objects.namespace_of(s)][name][value] contains s if {
	some s in release.of_kind("Service")
	objects.size_of(s, ["spec", "selector"]) > 0
	name := max(object.keys(s.spec.selector))
	value := s.spec.selector[name]
}

# budgets that limit how many of the workload's pods go at once.
budgets(workload) := {b |
	places := budget_index[workload.namespace]
	some name, value in object.union(workload.labels, {"": ""})
	some b in places[name][value]
	selects(b.spec.selector, workload.labels)
}

budget_places[objects.namespace_of(b)][name][value] contains b if {
	some b in release.of_kind("PodDisruptionBudget.policy")
	is_object(b.spec.selector)
	labels := {name: value | some name, value in b.spec.selector.matchLabels}
	name := max(object.keys(labels) | {""})
	value := object.get(labels, name, "")
}

# selects is how Kubernetes matches labels.
selects(selector, labels) if {
	every name, value in entries(selector, "matchLabels") {
		labels[name] == value
	}
	every expression in entries(selector, "matchExpressions") {
		fulfilled(expression, labels)
	}
}

# What is null is not there, in selectors and in numbers.
entries(selector, field) := value if {
	value := selector[field]
	value != null
} else := {}

number(o, field, otherwise) := value if {
	value := o.spec[field]
	is_number(value)
} else := otherwise

fulfilled(expression, labels) if {
	expression.operator == "In"
	labels[expression.key] in expression.values
}

fulfilled(expression, labels) if {
	expression.operator == "NotIn"
	value := object.get(labels, expression.key, null)
	values := expression.values
	not value in values
}

fulfilled(expression, labels) if {
	expression.operator == "Exists"
	labels[expression.key]
}

fulfilled(expression, labels) if {
	expression.operator == "DoesNotExist"
	object.get(labels, expression.key, null) == null
}

# scale is between which numbers of pods the workload runs: as its autoscaler
# says, or as it says itself.
scale(workload) := found[0] if {
	places := scaler_index[workload.namespace]
	found := [scaler | some scaler in places[workload.object.kind][workload.object.metadata.name]]
} else := {"object": null, "min": written, "max": written} if {
	written := object.get(workload.object, ["spec", "replicas"], 1)
	is_number(written)
} else := {"object": null, "min": 1, "max": 1}

scalers[objects.namespace_of(o)][target.kind][target.name] contains scaler if {
	some o in release.of_kind("HorizontalPodAutoscaler.autoscaling")
	target := o.spec.scaleTargetRef
	scaler := {"object": o, "min": number(o, "minReplicas", 1), "max": number(o, "maxReplicas", 1)}
}

scalers[objects.namespace_of(o)][kind][target.name] contains scaler if {
	some o in release.of_kind("ScaledObject.keda.sh")
	target := o.spec.scaleTargetRef
	kind := object.get(target, "kind", "Deployment")
	scaler := {"object": o, "min": number(o, "minReplicaCount", 0), "max": number(o, "maxReplicaCount", 100)}
}
