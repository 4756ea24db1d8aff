# METADATA
# title: Containers say what they need, and take no more memory
# description: >-
#   Without requests the scheduler puts pods where there is no room for them.
#   Without a limit one leak takes the memory of every pod on the node.
# scope: package
# custom:
#   id: availability/resources
#   code: AVL-003
#   severity: medium
#   data: [synthetic, anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(7)(ii)(C)
#         why: One faulty service does not take the node from those that care for patients.
#     nist_800_53r5: [SC-5, SC-6]
#   remediation: >-
#     Set resources.requests.cpu, resources.requests.memory and
#     resources.limits.memory for each container, or a LimitRange with defaults
#     for the namespace in the same release.
package availability.resources

import data.lib.objects
import data.lib.release
import data.lib.workloads

deny contains result if {
	some workload in workloads.all
	some field in ["initContainers", "containers"]
	some i, container in workload.pod.spec[field]
	missing := [what |
		some what, places in wanted
		not said(workload, container, places)
	]
	count(missing) > 0
	result := {
		"msg": sprintf("container %q has no %s", [object.get(container, "name", ""), concat(", no ", missing)]),
		"object": objects.ref(workload.object),
		"path": sprintf("%s.%s[%d].resources", [workload.pod.path, field, i]),
	}
}

# Where each may be said: a request that is not is as high as the limit.
wanted := {
	"cpu request": [["requests", "cpu"], ["limits", "cpu"]],
	"memory request": [["requests", "memory"], ["limits", "memory"]],
	"memory limit": [["limits", "memory"]],
}

said(_, container, places) if {
	some place in places
	something(object.get(container, array.concat(["resources"], place), null))
}

# For all containers of the pod together.
said(workload, _, places) if {
	some place in places
	something(object.get(workload.pod.spec, array.concat(["resources"], place), null))
}

said(workload, _, places) if {
	some place in places
	some limit in limits[workload.namespace]
	fields := {"requests": ["defaultRequest", "default"], "limits": ["default"]}[place[0]]
	something(limit[fields[_]][place[1]])
}

limits[objects.namespace_of(o)] contains limit if {
	some o in release.of_kind("LimitRange")
	some limit in o.spec.limits
	limit.type == "Container"
}

something(quantity) if {
	quantity != null
	not regex.match(`^0+(\.0*)?[A-Za-z]*$`, sprintf("%v", [quantity]))
}
