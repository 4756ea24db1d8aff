# METADATA
# title: What runs is in the release
# description: >-
#   A chart, another repository or a policy that makes or changes objects brings
#   what no release holds. No rule has looked at it, nothing has verified it, and
#   none of it is taken back with the release.
# scope: package
# custom:
#   id: governance/all-in-release
#   code: GOV-004
#   severity: high
#   data: [anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(c)(1)
#         why: Nothing runs beside patient data that was not looked at as it is.
#     nist_800_53r5: [CM-3, CM-14]
#   remediation: >-
#     Have what it makes rendered into the repository (`helm template`, a base of
#     kustomize). What serves all environments is another pipeline's.
package governance.all_in_release

import data.lib.entries
import data.lib.objects
import data.lib.release

deny contains result if {
	some kind, paths in data.params.bringing_kinds
	some o in release.of_kind(kind)
	some path in paths
	some place in entries.values(o, path)
	result := {
		"msg": sprintf("kind %s has something else bring objects that no rule sees", [kind]),
		"object": objects.ref(o),
		"path": place.path,
	}
}
