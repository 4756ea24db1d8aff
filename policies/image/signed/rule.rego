# METADATA
# title: Images are signed by those who may
# description: >-
#   A digest says that an image is always the same, and not whose it is. What runs
#   beside patients' data has a signature, or provenance by its builder, of a key
#   in params.evidence. Both are files in environments/<pipeline>/evidence, so
#   that anybody can judge the release again, years later. Files there that do not
#   count are told of here.
# scope: package
# custom:
#   id: image/signed
#   code: IMG-003
#   severity: high
#   data: [anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(c)(2)
#         why: What works on patients' records is known to be what those who may have built.
#     cis_k8s: {version: "1.12", ids: ["5.5.1"]}
#     nist_800_53r5: [CM-14, SI-7, SR-4, SR-11]
#   remediation: >-
#     Sign the image where it is built, and commit what that gives:
#     `cosign sign --key … IMAGE@DIGEST`, then `cosign download signature
#     IMAGE@DIGEST > environments/<pipeline>/evidence/<name>.signature.json`. Or commit
#     the provenance of the build, as `cosign download attestation` prints it.
package image.signed

import data.lib.evidence

deny contains result if {
	input.environment.data == "phi"
	some image in unsigned
	result := evidence.finding(image, without)
}

warn contains result if {
	input.environment.data != "phi"
	some image in unsigned
	result := evidence.finding(image, without)
}

audit contains {"msg": "no key may sign images (params.evidence.keys): whose they are is not judged"} if {
	not judged
}

# Whoever put it there meant it to count.
warn contains {"msg": sprintf("%s does not count: %s", [refused.file, refused.reason])} if {
	some refused in input.evidence.refused
}

without := "has no signature and no provenance by a key that counts; want one in the evidence"

unsigned contains image if {
	judged
	some image in input.images
	recorded := evidence.of(image)
	count(recorded.signatures) + count(recorded.provenance) == 0
}

judged if evidence.judged("signature")

judged if evidence.judged("provenance")
