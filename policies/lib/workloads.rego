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
	labels := texts(metadata, "labels")
	namespace := objects.namespace_of(o)
	workload := {
		"object": o,
		"kind": objects.kind_key(o),
		"namespace": namespace,
		"pod": pod,
		"metadata_path": pod.metadata_path,
		"labels": labels,
		"annotations": texts(metadata, "annotations"),
		"keys": ({sprintf("%s/%s=%s", [namespace, name, value]) | some name, value in labels} | {concat("", [namespace, "/"])}),
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
	text := trim_space(object.get(workload.annotations, name, ""))
	text != ""
} else := release.annotation(workload.object, name)

# services that send connections to the workload's pods.
services(workload) := {objects.ref(s.object) |
	some key in workload.keys
	some s in service_index[key]
	selects({"matchLabels": s.selector}, workload.labels)
}

# service_ports of these Services, by name.
service_ports(workload) := {name |
	some key in workload.keys
	some s in service_index[key]
	selects({"matchLabels": s.selector}, workload.labels)
	some port in s.object.spec.ports
	name := port.name
	is_string(name)
}

# Each index is made once; asked for one key, the sets below would be made for
# that key alone, again and again.
service_index := service_places

budget_index := budget_places

scaler_index := scalers

service_places[key] contains {"object": s, "selector": selector} if {
	some s in release.of_kind("Service")
	selector := s.spec.selector
	objects.size_of(s, ["spec", "selector"]) > 0
	key := place(objects.namespace_of(s), {"matchLabels": selector})
}

# budgets that limit how many of the workload's pods go at once.
budgets(workload) := {b |
	some key in workload.keys
	some b in budget_index[key]
	selects(b.spec.selector, workload.labels)
}

budget_places[key] contains b if {
	some b in release.of_kind("PodDisruptionBudget.policy")
	is_object(b.spec.selector)
	key := place(objects.namespace_of(b), b.spec.selector)
}

# place is under which of a workload's keys a selector is looked for: one of its
# labels, the most telling one by the usual names, or the whole namespace.
place(namespace, selector) := sprintf("%s/%s=%s", [namespace, name, selector.matchLabels[name]]) if {
	names := [name | some name, _ in selector.matchLabels]
	count(names) > 0
	name := max(names)
} else := concat("", [namespace, "/"])

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
	key := scale_key(workload.namespace, workload.object.kind, workload.object.metadata.name)
	found := [scaler | some scaler in scaler_index[key]]
} else := {"object": null, "min": written, "max": written} if {
	written := object.get(workload.object, ["spec", "replicas"], 1)
	is_number(written)
} else := {"object": null, "min": 1, "max": 1}

scalers[key] contains {"object": o, "min": number(o, "minReplicas", 1), "max": number(o, "maxReplicas", 1)} if {
	some o in release.of_kind("HorizontalPodAutoscaler.autoscaling")
	target := o.spec.scaleTargetRef
	key := scale_key(objects.namespace_of(o), target.kind, target.name)
}

scalers[key] contains {"object": o, "min": number(o, "minReplicaCount", 0), "max": number(o, "maxReplicaCount", 100)} if {
	some o in release.of_kind("ScaledObject.keda.sh")
	target := o.spec.scaleTargetRef
	key := scale_key(objects.namespace_of(o), object.get(target, "kind", "Deployment"), target.name)
}

scale_key(namespace, kind, name) := concat("/", [namespace, kind, name])
