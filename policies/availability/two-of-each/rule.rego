# METADATA
# title: Two of everything, and not both at once
# description: >-
#   A single pod is gone while its node is drained or lost. A second one goes
#   on, and a PodDisruptionBudget keeps maintenance from taking both.
# scope: package
# custom:
#   id: availability/two-of-each
#   code: AVL-001
#   severity: medium
#   data: [phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(7)(ii)(C)
#         why: What critical processes need goes on when a node fails or is maintained.
#   remediation: >-
#     Set replicas, or minReplicas of the autoscaler, to 2 or more, and add a
#     PodDisruptionBudget that selects the pods, with maxUnavailable: 1. What
#     must never run twice says why in the annotation chaperone.dev/singleton.
package availability.two_of_each

import data.lib.objects
import data.lib.workloads

deny contains result if {
	some workload in workloads.replicated
	scale := workloads.scale(workload)
	scale.min < 2
	wanted(workload)
	result := {
		"msg": sprintf("%v of it runs, and nothing while that one is gone; want at least 2", [scale.min]),
		"object": objects.ref(shown(workload, scale)),
		"path": {true: "spec.replicas", false: "spec.minReplicas"}[scale.object == null],
	}
}

deny contains result if {
	some workload in workloads.replicated
	wanted(workload)
	limits := {limit | some budget in workloads.budgets(workload); limit := limits_something(budget)}
	count(limits) == 0
	result := {
		"msg": "no PodDisruptionBudget keeps maintenance from taking all its pods at once",
		"object": objects.ref(workload.object),
	}
}

# A budget under which no pod may ever go keeps nodes from being drained.
deny contains result if {
	some workload in workloads.replicated
	some budget in workloads.budgets(workload)
	some field in blocks(budget)
	result := {
		"msg": sprintf("%s %v lets no pod go, so that no node can be maintained", [field, budget.spec[field]]),
		"object": objects.ref(budget),
		"path": concat("", ["spec.", field]),
	}
}

# What is switched off (replicas: 0) needs no second.
wanted(workload) if {
	workloads.declared(workload, "chaperone.dev/singleton") == ""
	workloads.scale(workload).max > 0
}

shown(_, scale) := scale.object if scale.object != null

shown(workload, scale) := workload.object if scale.object == null

limits_something(budget) := budget.metadata.name if {
	some field, nothing in {"minAvailable": {0, "0", "0%"}, "maxUnavailable": {"100%"}}
	value := budget.spec[field]
	value != null
	not value in nothing
}

blocks(budget) := {"minAvailable"} if {
	budget.spec.minAvailable == "100%"
} else := {"maxUnavailable"} if {
	budget.spec.maxUnavailable in {0, "0", "0%"}
} else := set()
