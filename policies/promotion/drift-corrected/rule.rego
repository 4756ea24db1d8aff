# METADATA
# title: What somebody changes by hand is put back
# description: >-
#   The cluster runs what Git says, and nothing else: an imperative change has no
#   review, no approval and no record.
# scope: package
# custom:
#   id: promotion/drift-corrected
#   code: PRM-005
#   severity: medium
#   data: [phi]
#   controls:
#     hipaa:
#       - cite: 164.312(c)(1)
#         why: Nothing is altered past review, or not for long.
#     nist_800_53r5: [CM-3]
#   remediation: >-
#     Set spec.drift: correct in the environment, and list in ignoreDrift what
#     others are to change.
package promotion.drift_corrected

deny contains result if {
	input.environment.drift != "correct"
	result := {"msg": sprintf("spec.drift is %q: changes by hand stay; want correct", [input.environment.drift])}
}
