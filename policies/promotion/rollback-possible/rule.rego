# METADATA
# title: Earlier versions stay at hand
# description: >-
#   A workload keeps the versions before the one that runs, so that a person at
#   the cluster can go back even when Git and the daemon cannot be reached.
# scope: package
# custom:
#   id: promotion/rollback-possible
#   code: PRM-006
#   severity: high
#   data: [anonymized, phi]
#   kinds: [Deployment.apps, StatefulSet.apps, DaemonSet.apps, Rollout.argoproj.io]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(7)(ii)(B)
#         why: What a change broke is restored by going back.
#     nist_800_53r5: [CP-10]
#   remediation: >-
#     Leave revisionHistoryLimit out (10), or set it to 1 or more.
package promotion.rollback_possible

deny contains result if {
	object.get(input.object, ["spec", "revisionHistoryLimit"], 10) == 0
	result := {"msg": "keeps no version to go back to; want at least 1", "path": "spec.revisionHistoryLimit"}
}
