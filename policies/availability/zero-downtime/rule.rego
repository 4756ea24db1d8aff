# METADATA
# title: A rollout takes no pod away before another serves
# description: >-
#   Recreate stops everything first. With maxUnavailable above 0, and its
#   default is 25%, a rollout begins by taking pods away.
# scope: package
# custom:
#   id: availability/zero-downtime
#   code: AVL-005
#   severity: medium
#   data: [phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(7)(ii)(C)
#         why: Clinicians go on working while a new version is rolled out.
#   remediation: >-
#     Set strategy.rollingUpdate.maxUnavailable to 0 and maxSurge to 1 or more;
#     canary and blue-green rollouts are fine as they are. What must never run
#     twice says why in the annotation chaperone.dev/singleton.
package availability.zero_downtime

import data.lib.objects
import data.lib.workloads

deny contains result if {
	some workload in deployments
	workload.object.spec.strategy.type == "Recreate"
	result := {
		"msg": "strategy Recreate stops every pod before it starts a new one",
		"object": objects.ref(workload.object),
		"path": "spec.strategy.type",
	}
}

deny contains result if {
	some workload in deployments
	strategy := object.get(workload.object, ["spec", "strategy", "type"], null)
	strategy in {null, "", "RollingUpdate"}
	unavailable := unavailable_of(workload.object)
	not unavailable in {0, "0", "0%"}
	result := {
		"msg": sprintf("up to %v of its pods are taken away before others serve; want maxUnavailable 0", [unavailable]),
		"object": objects.ref(workload.object),
		"path": "spec.strategy.rollingUpdate.maxUnavailable",
	}
}

unavailable_of(o) := value if {
	value := o.spec.strategy.rollingUpdate.maxUnavailable
	value != null
} else := "25%"

# A StatefulSet replaces one after the other, unless it is told otherwise.
deny contains result if {
	some workload in workloads.replicated
	workload.kind == "StatefulSet.apps"
	unavailable := workload.object.spec.updateStrategy.rollingUpdate.maxUnavailable
	not unavailable in {null, 0, 1, "1"}
	result := {
		"msg": sprintf("up to %v of its pods are replaced at once; want one after the other", [unavailable]),
		"object": objects.ref(workload.object),
		"path": "spec.updateStrategy.rollingUpdate.maxUnavailable",
	}
}

deployments := [workload |
	some workload in workloads.replicated
	workload.kind == "Deployment.apps"
	workloads.declared(workload, "chaperone.dev/singleton") == ""
	workloads.scale(workload).max > 0
]
