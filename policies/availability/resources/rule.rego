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
	pod := workload.pod.spec
	namespace := workload.namespace
	some field in ["initContainers", "containers"]
	some i, container in pod[field]
	missing := [what |
		some what, place in wanted
		not said(pod, container, place)
		not by_default(namespace, place)
	]
	count(missing) > 0
	result := {
		"msg": sprintf("container %q has no %s", [object.get(container, "name", ""), concat(", no ", missing)]),
		"object": objects.ref(workload.object),
		"path": sprintf("%s.%s[%d].resources", [workload.pod.path, field, i]),
	}
}

wanted := {
	"cpu request": ["requests", "cpu"],
	"memory request": ["requests", "memory"],
	"memory limit": ["limits", "memory"],
}

said(_, container, [field, resource]) if something(container.resources[field][resource])

# A request that is not there is as high as the limit.
said(_, container, ["requests", resource]) if something(container.resources.limits[resource])

# For all containers of the pod together.
said(pod, _, [field, resource]) if something(pod.resources[field][resource])

said(pod, _, ["requests", resource]) if something(pod.resources.limits[resource])

by_default(namespace, [field, resource]) if {
	some limit in limits[namespace]
	some source in {"requests": ["defaultRequest", "default"], "limits": ["default"]}[field]
	something(limit[source][resource])
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
