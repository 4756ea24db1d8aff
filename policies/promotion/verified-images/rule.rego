# METADATA
# title: Only images that the environment before has verified
# description: >-
#   An image enters where patients' data is when the environment before ran it, by
#   the same digest, and verified it; or when it was verified here. A build of its
#   own for production is another image.
# scope: package
# custom:
#   id: promotion/verified-images
#   code: PRM-003
#   severity: critical
#   data: [anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.312(c)(1)
#         why: What runs is what was tried, byte for byte.
#     nist_800_53r5: [CM-14, SI-7]
#   remediation: >-
#     Promote the build that runs in the environment before: same image, same
#     digest. In an emergency an override that somebody else reviewed lets it in.
package promotion.verified_images

deny contains result if {
	input.approval.override == ""
	some image in unverified
	result := finding(image)
}

warn contains result if {
	input.approval.override != ""
	some image in unverified
	result := finding(image)
}

# Where nothing comes before, promotion/in-order says so.
unverified contains image if {
	count(input.environment.after) > 0
	some image in input.images
	digest := image.digest
	digest != ""
	not digest in verified
}

verified contains digest if {
	some upstream in input.upstream
	upstream.state in {"verified", "rendered"}
	some image in upstream.images
	digest := split(image, "@")[1]
}

verified contains digest if {
	some image in input.lastGood.images
	digest := split(image, "@")[1]
}

finding(image) := {
	"msg": sprintf("%s has not been verified by %s", [image.image, places]),
	"object": image.object,
	"path": image.path,
}

places := concat(" or ", input.environment.after)
