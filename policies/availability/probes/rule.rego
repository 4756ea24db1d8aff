# METADATA
# title: Containers say whether they serve and whether they live
# description: >-
#   Without a readiness probe a pod gets requests before it can answer them, and
#   a broken release looks like a good one. Without a liveness probe a container
#   that hangs stays as it is.
# scope: package
# custom:
#   id: availability/probes
#   code: AVL-002
#   severity: medium
#   data: [anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(7)(ii)(C)
#         why: >-
#           A service that hangs is restarted, and one that cannot answer gets
#           no requests, without a person at night.
#   remediation: >-
#     Add readinessProbe and livenessProbe to each container that listens
#     (httpGet on a health endpoint where there is one), and a livenessProbe to
#     what only works through a queue. Ports that carry metrics alone need
#     neither.
package availability.probes

import data.lib.objects
import data.lib.workloads

deny contains result if {
	some workload in workloads.running
	some i, container in workload.pod.spec.containers
	listens(container)
	missing := [probe | some probe in ["readinessProbe", "livenessProbe"]; not objects.is_set(container, [probe])]
	count(missing) > 0
	result := {
		"msg": sprintf("container %q listens and has no %s", [object.get(container, "name", ""), concat(" and no ", missing)]),
		"object": objects.ref(workload.object),
		"path": sprintf("%s.containers[%d]", [workload.pod.path, i]),
	}
}

# A worker: nothing asks it whether it is ready.
deny contains result if {
	some workload in workloads.running
	every container in workload.pod.spec.containers {
		not listens(container)
		not objects.is_set(container, ["livenessProbe"])
	}
	count(workloads.services(workload)) == 0
	result := {
		"msg": "no container says whether it lives; want a livenessProbe",
		"object": objects.ref(workload.object),
		"path": concat("", [workload.pod.path, ".containers"]),
	}
}

# The ports of a container are only told for information, but a Service knows.
deny contains result if {
	some workload in workloads.running
	every container in workload.pod.spec.containers {
		not listens(container)
	}
	count(workloads.services(workload)) > 0
	missing := [probe |
		some probe in ["readinessProbe", "livenessProbe"]
		having := [c | some c in workload.pod.spec.containers; objects.is_set(c, [probe])]
		count(having) == 0
	]
	count(missing) > 0
	result := {
		"msg": sprintf("a Service sends it requests, and no container has a %s", [concat(" or a ", missing)]),
		"object": objects.ref(workload.object),
		"path": concat("", [workload.pod.path, ".containers"]),
	}
}

listens(container) if {
	some port in container.ports
	name := object.get(port, "name", "")
	not of_metrics(name)
}

of_metrics(name) if {
	is_string(name)
	contains(name, "metrics")
}
