# METADATA
# title: Pods
# description: >-
#   Pod specs and containers of the object under test, whatever kind it is of:
#   params.pod_templates says where they stand. Init and ephemeral containers
#   count as containers, as the Pod Security Standards have it.
package lib.pods

import data.lib.objects

# specs of the object under test, each with the path where it stands and:
#   os         its operating system
#   linux      false where it runs on Windows, which has none of Linux' privileges to restrict
#   host_users false where root in it is nobody on the node
#   own_users  the same, as far as the standards go by it
#   security   its securityContext, null where there is none
specs := specs_of(input.object)

# specs_of is the same for any object.
specs_of(o) := {found |
	some path in paths_of(o)
	spec := spec_at(o, path)
	counts(o, spec)
	found := {
		"path": path,
		"spec": spec,
		"security": object.get(spec, "securityContext", null),
		"os": object.get(spec, ["os", "name"], ""),
		"linux": on_linux(spec),
		"host_users": object.get(spec, "hostUsers", true),
		"own_users": has_own_users(spec),
	}
}

paths_of(o) := data.params.pod_templates[objects.kind_key(o)] if {
	named(o)
} else := data.params.pod_templates["*"]

named(o) if data.params.pod_templates[objects.kind_key(o)]

spec_at(o, path) := spec if {
	spec := object.get(o, split(path, "."), null)
	is_object(spec)
}

counts(o, _) if named(o)

counts(_, spec) if spec.containers

default on_linux(_) := true

on_linux(spec) := false if {
	spec.os.name == "windows"
	minor >= 25
}

default has_own_users(_) := false

has_own_users(spec) if {
	spec.hostUsers == false
	minor >= 35
}

# containers of the object under test, each with its pod.
containers := [found |
	some pod in specs
	some field in ["initContainers", "containers", "ephemeralContainers"]
	some i, entry in pod.spec[field]
	container := object_or_empty(entry)
	found := {
		"path": sprintf("%s.%s[%d]", [pod.path, field, i]),
		"name": object.get(container, "name", ""),
		"container": container,
		"security": object.get(container, "securityContext", null),
		"pod": pod,
	}
]

# holders are pods and containers alike: all that has a securityContext.
holders := array.concat(
	[{"path": pod.path, "security": pod.security, "pod": pod} | some pod in specs],
	containers,
)

# label says which holder it is.
label(holder) := sprintf("container %q", [holder.name]) if {
	holder.container
} else := "the pod"

# volumes of the object under test, each with its pod.
volumes := [found |
	some pod in specs
	some i, entry in pod.spec.volumes
	volume := object_or_empty(entry)
	found := {
		"path": sprintf("%s.volumes[%d]", [pod.path, i]),
		"name": object.get(volume, "name", ""),
		"volume": volume,
	}
]

# annotations of a pod, which stand beside its spec.
annotations(pod) := {key: text(value) |
	steps := split(pod.path, ".")
	path := array.concat(array.slice(steps, 0, count(steps) - 1), ["metadata", "annotations"])
	some key, value in object.get(input.object, path, null)
}

text(value) := value if {
	is_string(value)
} else := "" if {
	is_null(value)
} else := sprintf("%v", [value])

annotation_path(pod, key) := sprintf("%smetadata.annotations[%q]", [trim_suffix(pod.path, "spec"), key])

# An entry of a list that is null has all defaults.
object_or_empty(value) := value if {
	is_object(value)
} else := {}

# minor is the version of the Pod Security Standards, 37 for "1.37". What comes
# after the newest that is known is judged like the newest.
minor := newest if {
	data.params.pod_security_version == "latest"
} else := to_number(found) if {
	found := regex.find_all_string_submatch_n(`^v?1\.([0-9]{1,3})$`, data.params.pod_security_version, 1)[0][1]
} # an error, not a pass

else := to_number(sprintf("pod_security_version %v; want latest or such as \"1.37\"", [data.params.pod_security_version]))

newest := 1000

# restricted is what every pod must be where people's data is; elsewhere the
# baseline is enough for the subjects of which the standards have two versions.
default restricted := true

restricted := false if input.environment.data in {"none", "synthetic"}
