# METADATA
# title: Tests of what enters have passed
# description: >-
#   The very image that enters was tested, and its tests passed: in-toto's signed
#   test result in environments/<pipeline>/evidence says so, by a key in
#   params.evidence. One that failed is not outweighed by others: it is fixed, or
#   its record is replaced by that of the next run.
# scope: package
# custom:
#   id: promotion/tests-passed
#   code: PRM-008
#   severity: high
#   data: [anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(8)
#         why: There is evidence of how a change did in its tests before it goes on.
#     nist_800_53r5: [SA-11]
#   remediation: >-
#     Have the pipeline that tests an image sign the result and commit it: `cosign
#     attest --type https://in-toto.io/attestation/test-result/v0.1 --predicate
#     result.json --key … IMAGE@DIGEST`, then `cosign download attestation
#     IMAGE@DIGEST > environments/<pipeline>/evidence/<name>.tests.jsonl`. In an
#     emergency an override that somebody else reviewed lets it in.
package promotion.tests_passed

import data.lib.evidence

deny contains result if {
	input.approval.override == ""
	some result in (missing | failed)
}

warn contains result if {
	input.approval.override != ""
	some result in (missing | failed)
}

audit contains {"msg": "no key may speak of tests (params.evidence.keys): whether they passed is not judged"} if {
	not evidence.judged("test")
}

missing contains result if {
	some image in judged
	count(evidence.of(image).tests) == 0
	result := evidence.finding(image, "has no test result by a key that counts; want one in the evidence")
}

failed contains result if {
	some image in judged
	some run in evidence.of(image).tests
	run.result == "FAILED"
	result := evidence.finding(image, sprintf("failed its tests%s (%s)", [names(run.failed), run.file]))
}

judged contains image if {
	evidence.judged("test")
	some image in input.images
}

names(tests) := sprintf(": %s", [concat(", ", tests)]) if {
	count(tests) > 0
} else := ""
