# METADATA
# title: The environment before verifies by checks, and for a while
# description: >-
#   Verified means more there than that pods are ready: requests are answered as
#   they should be, and go on to be for the time that this environment waits.
# scope: package
# custom:
#   id: promotion/verification-evidence
#   code: PRM-008
#   severity: high
#   data: [anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(8)
#         why: There is evidence of how a change did before it goes on.
#     nist_800_53r5: [CA-2]
#   remediation: >-
#     Add requests to spec.verify.http of the environment before, and set
#     promotion.soak of this one.
package promotion.verification_evidence

deny contains result if {
	some id in input.environment.after
	some other in input.pipeline
	other.environment == id
	id in readable
	other.checks < 1
	result := {"msg": sprintf("%s has no check of its own (spec.verify.http): that pods are ready is all it verifies", [id])}
}

deny contains result if {
	some id in input.environment.after
	known := readable
	not id in known
	result := {"msg": sprintf("nothing is known of %s, which comes before", [id])}
}

readable := {other.environment | some other in input.pipeline} - {other.environment |
	some other in input.pipeline
	other.data == "unknown"
}

deny contains result if {
	count(input.environment.after) > 0
	seconds := time.parse_duration_ns(input.environment.promotion.soak) / 1000000000
	seconds < data.params.promotion.soak_seconds
	result := {"msg": sprintf("promotion.soak is %v seconds; want at least %v", [seconds, data.params.promotion.soak_seconds])}
}
