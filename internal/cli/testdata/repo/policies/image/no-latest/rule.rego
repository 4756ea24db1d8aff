# METADATA
# title: Images have a version
# description: What runs under the tag latest is somebody else's decision.
# scope: package
# custom:
#   id: image/no-latest
#   code: IMG-900
#   severity: critical
#   data: [synthetic, anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(c)(2)
#         why: What runs is what was reviewed.
#   remediation: Name a version.
package image.no_latest

deny contains result if {
	some image in input.images
	image.tag == "latest"
	result := {
		"msg": sprintf("image %q has no version", [image.image]),
		"object": image.object,
		"path": image.path,
	}
}
