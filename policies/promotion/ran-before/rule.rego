# METADATA
# title: Workloads have run in the environment before
# description: >-
#   The environment before is the mirror of this one: a workload that is only here
#   has been tried nowhere.
# scope: package
# custom:
#   id: promotion/ran-before
#   code: PRM-007
#   severity: medium
#   data: [phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.308(a)(8)
#         why: What is new is evaluated before it is where patient data is.
#     nist_800_53r5: [CM-3]
#   remediation: >-
#     Add the workload to the environment before, too, in the base that both
#     share.
package promotion.ran_before

import data.lib.objects
import data.lib.pods

deny contains result if {
	count(input.environment.after) > 0
	input.release.digest != input.lastGood.digest
	input.approval.override == ""
	some o in input.objects
	count(pods.specs_of(o)) > 0
	workload := sprintf("%s/%s", [objects.kind_key(o), o.metadata.name])
	not workload in ran
	result := {
		"msg": sprintf("is not in %s: it would run here for the first time", [concat(" or ", input.environment.after)]),
		"object": objects.ref(o),
		"path": "metadata.name",
	}
}

ran contains workload if {
	some upstream in input.upstream
	upstream.state in {"verified", "rendered"}
	some workload in upstream.workloads
}
