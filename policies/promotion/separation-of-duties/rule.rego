# METADATA
# title: Nobody approves what they wrote
# description: >-
#   Who wrote any of the commits that a release brings has no say in whether it
#   enters where patients' data is. The approval gate looks at authors and
#   committers of all of them, where the environment asks for it.
# scope: package
# custom:
#   id: promotion/separation-of-duties
#   code: PRM-004
#   severity: high
#   data: [anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(3)(ii)(A)
#         why: Another person looks at what one person wrote before it reaches patient data.
#     nist_800_53r5: [AC-5]
#   remediation: >-
#     Set promotion.approval.notAuthor: true in the environment.
package promotion.separation_of_duties

deny contains result if {
	not input.environment.promotion.approval.notAuthor
	result := {"msg": "promotion.approval.notAuthor is not set: authors may approve what they wrote"}
}
