# METADATA
# title: A migration has a way back
# description: >-
#   What changes data before a release has something in the same release that
#   undoes it: a release that is taken back would meet data that it does not know.
# scope: package
# custom:
#   id: promotion/migration-rollback
#   code: PRM-006
#   severity: high
#   data: [anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(7)(ii)(B)
#         why: Data that a change altered is brought back with the change.
#       - cite: 164.312(c)(1)
#         why: A release that was taken back leaves no altered data behind.
#     nist_800_53r5: [CP-10]
#   remediation: >-
#     Add a Job with the annotation chaperone.dev/hook: rollback that undoes the
#     migration. A hook that changes no data says so with chaperone.dev/changes-
#     data: "no".
package promotion.migration_rollback

import data.lib.objects
import data.lib.release

deny contains result if {
	some o in input.objects
	release.annotation(o, "chaperone.dev/hook") == "pre-deploy"
	count(rollbacks) == 0
	release.annotation(o, "chaperone.dev/changes-data") != "no"
	result := {
		"msg": "changes data before the release, and nothing in the release undoes that; want a Job with chaperone.dev/hook: rollback",
		"object": objects.ref(o),
		"path": "metadata.annotations[\"chaperone.dev/hook\"]",
	}
}

rollbacks contains objects.ref(o) if {
	some o in input.objects
	release.annotation(o, "chaperone.dev/hook") == "rollback"
}
