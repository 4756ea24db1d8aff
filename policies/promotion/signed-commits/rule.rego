# METADATA
# title: What brings a release is signed where that is asked for
# description: >-
#   Author and committer of a commit are free text; a signature is not. Where
#   params.promotion.require_signed lists an environment, its file has to require
#   signed commits, which the daemon then holds against the keys that the operator
#   lists. Its file may ask for it anywhere, and not leave it out there.
# scope: package
# custom:
#   id: promotion/signed-commits
#   code: PRM-009
#   severity: critical
#   data: [synthetic, anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.312(d)
#         why: Who made a change is proven by a key, and not claimed in a text.
#     nist_800_53r5: [CM-14, SI-7]
#   remediation: >-
#     Add `require: [signed]` to the environment's file, in a signed commit, and
#     list the keys of those who sign in the daemon's configuration (signers).
package promotion.signed_commits

deny contains result if {
	listed[0] == true
	not "signed" in input.environment.require
	result := {"msg": sprintf("%s does not require signed commits; want require: [signed]", [input.environment.id])}
}

# The nearest counts: the environment, its pipeline, what it holds.
listed := [asked |
	some key in [input.environment.id, sprintf("%s/*", [input.environment.pipeline]), input.environment.data]
	asked := data.params.promotion.require_signed[key]
]

# A slip in the parameters is not a pass.
deny contains result if {
	some asked in listed
	not is_boolean(asked)
	result := {"msg": sprintf("params.promotion.require_signed has %v for %s; want true or false", [asked, input.environment.id])}
}
