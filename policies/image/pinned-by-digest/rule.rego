# METADATA
# title: Images are pinned by digest
# description: >-
#   A tag can be moved to other content after it was tested. A digest names the
#   very bytes that the environments before this one verified.
# scope: package
# custom:
#   id: image/pinned-by-digest
#   code: IMG-001
#   severity: high
#   data: [synthetic, anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(c)(1)
#         why: Software that handles patient data cannot be exchanged without a change that somebody reviewed.
#     nist_800_53r5: [SI-7, CM-14]
#   remediation: Write the image as registry/name:tag@sha256:…, for example with the images field of the kustomization.
package image.pinned_by_digest

deny contains result if {
	some image in input.images
	image.digest == ""
	result := {
		"msg": sprintf("image %q is not pinned by a sha256 digest", [image.image]),
		"object": image.object,
		"path": image.path,
	}
}
