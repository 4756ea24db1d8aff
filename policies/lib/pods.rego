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

# specs_of is the same for any object. One of a kind that is not named has them
# where containers stand.
specs_of(o) := [found |
	kind := objects.kind_key(o)
	named := is_array(object.get(data.params.pod_templates, kind, null))
	some path in object.get(data.params.pod_templates, kind, data.params.pod_templates["*"])
	spec := object.get(o, split(path, "."), null)
	is_object(spec)
	object.get(spec, "containers", named) != false
	found := {"path": path, "spec": spec, "security": object.get(spec, "securityContext", null)}
]

# containers of the object under test, each with its pod. An entry of the list
# that is null has all defaults.
containers := [found |
	some pod in specs
	some field in ["initContainers", "containers", "ephemeralContainers"]
	some i, entry in pod.spec[field]
	container := object.get({null: {}}, entry, entry)
	found := {
		"path": sprintf("%s.%s[%d]", [pod.path, field, i]),
		"name": object.get(container, "name", ""),
		"container": container,
		"security": object.get(container, "securityContext", null),
		"spec": pod.spec,
		"pod": pod,
	}
]

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
annotations(pod) := object.get(input.object, split(path, "."), null) if {
	path := concat("", [trim_suffix(pod.path, "spec"), "metadata.annotations"])
}

annotation_path(pod, key) := sprintf("%smetadata.annotations[%q]", [trim_suffix(pod.path, "spec"), key])

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
