# METADATA
# title: Pods
# description: >-
#   Pod specs and containers of the object under test, whatever kind it is of:
#   params.pod_templates says where they stand. Init and ephemeral containers
#   count as containers, as the Pod Security Standards have it.
package lib.pods

import data.lib.objects

# specs of the object under test, each with the path where it stands, its
# operating system (windows has none of Linux' privileges to restrict), and
# whether its users are the node's (where false, root in it is nobody outside).
specs := specs_of(input.object)

# specs_of is the same for any object.
specs_of(o) := {found |
	some path in paths_of(o)
	spec := spec_at(o, path)
	counts(o, spec)
	found := {
		"path": path,
		"spec": spec,
		"os": object.get(spec, ["os", "name"], ""),
		"host_users": object.get(spec, "hostUsers", true),
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

# containers of the object under test, each with its pod.
containers contains found if {
	some pod in specs
	some field in ["initContainers", "containers", "ephemeralContainers"]
	some i, container in pod.spec[field]
	found := {
		"path": sprintf("%s.%s[%d]", [pod.path, field, i]),
		"name": object.get(container, "name", ""),
		"container": container,
		"pod": pod,
	}
}
