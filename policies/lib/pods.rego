# METADATA
# title: Pods
# description: >-
#   Pod specs and containers of the object under test, whatever kind it is of:
#   params.pod_templates says where they stand. Init and ephemeral containers
#   count as containers, as the Pod Security Standards have it.
package lib.pods

import data.lib.objects

# specs of the object under test, each with the path where it stands and its
# securityContext, null where there is none.
specs := specs_of(input.object)

# specs_of is the same for any object. One of a kind that is not named, or whose
# paths lead nowhere, has them where containers stand.
specs_of(o) := specs if {
	paths := data.params.pod_templates[objects.kind_key(o)]
	is_array(paths)
	specs := specs_at(o, paths, true)
	found_or_none(paths, specs)
} else := [] if {
	objects.kind_key(o) in podless
} else := array.concat(usual, found) if {
	usual := specs_at(o, object.get(data.params.pod_templates, "*", []), false)
	known := {spec.path | some spec in usual}
	found := [spec |
		walk(o, [at, value])
		looks_like_pod(value)
		path := path_text(at)
		not path in known
		spec := described(value, path, at, true)
	]
}

# podless are kinds of Kubernetes' own, of which the API server keeps no field
# that they do not have: nobody hides a pod there.
podless := {
	"ConfigMap", "Endpoints", "Event", "LimitRange", "Namespace", "PersistentVolume", "PersistentVolumeClaim",
	"ResourceQuota", "Secret", "Service", "ServiceAccount",
	"ClusterRole.rbac.authorization.k8s.io", "ClusterRoleBinding.rbac.authorization.k8s.io",
	"EndpointSlice.discovery.k8s.io", "HorizontalPodAutoscaler.autoscaling", "Ingress.networking.k8s.io",
	"IngressClass.networking.k8s.io", "Lease.coordination.k8s.io", "NetworkPolicy.networking.k8s.io",
	"PodDisruptionBudget.policy", "PriorityClass.scheduling.k8s.io", "Role.rbac.authorization.k8s.io",
	"RoleBinding.rbac.authorization.k8s.io", "StorageClass.storage.k8s.io",
}

found_or_none([], _)

found_or_none(_, specs) if count(specs) > 0

# Most kinds have one path, and no list on it.
specs_at(o, paths, named) := [found] if {
	[path] := paths
	not contains(path, "[]")
	at := split(path, ".")
	spec := object.get(o, at, null)
	is_object(spec)
	object.get(spec, "containers", named) != false
	found := {"path": path, "at": at, "alike": false, "spec": spec, "security": object.get(spec, "securityContext", null)}
} else := [described(place.value, path_text(place.at), place.at, false) |
	some path in paths
	some place in places_at(o, path)
	is_object(place.value)
	object.get(place.value, "containers", named) != false
]

places_at(o, path) := [{"at": at, "value": object.get(o, at, null)}] if {
	not contains(path, "[]")
	at := split(path, ".")
} else := [{"at": at, "value": value} |
	parts := split(replace(path, "[]", ".[]"), ".")
	walk(o, [at, value])
	count(at) == count(parts)
	every i, step in at {
		fits(step, parts[i])
	}
]

fits(step, "[]") if is_number(step)

fits(step, step)

described(spec, path, at, alike) := {
	"path": path,
	"at": at,
	"alike": alike,
	"spec": spec,
	"security": object.get(spec, "securityContext", null),
}

path_text(at) := trim_prefix(concat("", [text | some step in at; text := step_text(step)]), ".")

step_text(step) := sprintf("[%d]", [step]) if {
	is_number(step)
} else := concat("", [".", step])

# Argo's templates call containers by more names than pods do.
looks_like_pod(value) if {
	some field in ["containers", "initContainers", "ephemeralContainers", "sidecars"]
	is_array(value[field])
	some entry in value[field]
	is_object(entry)
}

# Tekton's steps; other kinds have steps without an image.
looks_like_pod(value) if {
	some step in value.steps
	step.image != ""
	is_string(step.image)
}

looks_like_pod(value) if {
	some field in ["container", "script"]
	value[field].image != ""
	is_string(value[field].image)
}

# containers of the object under test, each with its pod. An entry of the list
# that is null has all defaults.
containers := array.concat(
	[found |
		some pod in specs
		some field in lists[pod.alike]
		some i, entry in pod.spec[field]
		container := object.get({null: {}}, entry, entry)
		found := {
			"path": trim_prefix(sprintf("%s.%s[%d]", [pod.path, field, i]), "."),
			"name": object.get(container, "name", ""),
			"container": container,
			"security": object.get(container, "securityContext", null),
			"spec": pod.spec,
			"pod": pod,
		}
	],
	[found |
		some pod in specs
		pod.alike
		some field in ["container", "script"]
		entry := pod.spec[field]
		is_object(entry)
		found := {
			"path": trim_prefix(concat(".", [pod.path, field]), "."),
			"name": object.get(entry, "name", ""),
			"container": entry,
			"security": object.get(entry, "securityContext", null),
			"spec": pod.spec,
			"pod": pod,
		}
	],
)

lists := {
	false: ["initContainers", "containers", "ephemeralContainers"],
	true: ["initContainers", "containers", "ephemeralContainers", "sidecars", "steps"],
}

# metadata of a pod stands beside its spec; Argo's templates hold both.
metadata_of(o, pod) := object.get(o, metadata_at(pod.at), null)

metadata_at(at) := array.concat(array.slice(at, 0, count(at) - 1), ["metadata"]) if {
	at[count(at) - 1] == "spec"
} else := array.concat(at, ["metadata"])

# metadata_path is where it stands.
metadata_path(pod) := path_text(metadata_at(pod.at))

# holders are pods and containers alike: all that has a securityContext.
holders := array.concat(specs, containers)

# on_windows is so for what has none of Linux' privileges to restrict. Before
# 1.25 the standards took no notice.
on_windows(holder) if {
	holder.spec.os.name == "windows"
	minor >= 25
}

# has_own_users is so for what may be root, which is nobody outside. Before 1.35
# the standards took no notice.
has_own_users(holder) if {
	holder.spec.hostUsers == false
	minor >= 35
}

# label says which holder it is.
label(holder) := sprintf("container %q", [holder.name]) if {
	holder.container
} else := "the pod"

# volumes of the object under test.
volumes := [found |
	some pod in specs
	some i, entry in pod.spec.volumes
	volume := object.get({null: {}}, entry, entry)
	found := {
		"path": sprintf("%s.volumes[%d]", [pod.path, i]),
		"name": object.get(volume, "name", ""),
		"volume": volume,
	}
]

# annotations of a pod, which stand beside its spec.
annotations(pod) := object.get(metadata, "annotations", null) if {
	metadata := metadata_of(input.object, pod)
	is_object(metadata)
}

annotation_path(pod, key) := sprintf("%s.annotations[%q]", [metadata_path(pod), key])

# text is what a field that holds one says: nothing, where it is null.
text(value) := value if {
	is_string(value)
} else := "" if {
	is_null(value)
} else := sprintf("%v", [value])

# minor is the version of the Pod Security Standards, 37 for "1.37". What comes
# after the newest that is known is judged like the newest. One that cannot be
# read is an error, not a pass.
minor := newest if {
	data.params.pod_security_version == "latest"
} else := to_number(found) if {
	found := regex.find_all_string_submatch_n(`^v?1\.([0-9]{1,3})$`, data.params.pod_security_version, 1)[0][1]
} else := to_number(problem) if {
	problem := sprintf("pod_security_version %v; want latest or such as \"1.37\"", [data.params.pod_security_version])
}

newest := 1000

# restricted is what every pod must be where people's data is; elsewhere the
# baseline is enough for the subjects of which the standards have two versions.
default restricted := true

restricted := false if input.environment.data in {"none", "synthetic"}
