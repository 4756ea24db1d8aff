# METADATA
# title: Pods are spread over zones
# description: >-
#   Two pods in one zone are one when the zone fails. The scheduler spreads them
#   where it is told to.
# scope: package
# custom:
#   id: availability/zone-spread
#   code: AVL-004
#   severity: medium
#   data: [phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(7)(ii)(C)
#         why: Critical processes go on when a whole zone of the provider fails.
#   remediation: >-
#     Add a topologySpreadConstraint with topologyKey
#     topology.kubernetes.io/zone (whenUnsatisfiable ScheduleAnyway will do), or
#     a podAntiAffinity with that key.
package availability.zone_spread

import data.lib.objects
import data.lib.workloads

deny contains result if {
	some workload in workloads.replicated
	workloads.scale(workload).max > 1
	spec := workload.pod.spec
	not spread(spec)
	result := {
		"msg": "nothing spreads its pods over zones",
		"object": objects.ref(workload.object),
		"path": concat("", [workload.pod.path, ".topologySpreadConstraints"]),
	}
}

spread(spec) if {
	some constraint in spec.topologySpreadConstraints
	constraint.topologyKey in data.params.zone_keys
}

spread(spec) if {
	some term in spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution
	term.topologyKey in data.params.zone_keys
}

spread(spec) if {
	some term in spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution
	term.podAffinityTerm.topologyKey in data.params.zone_keys
}
