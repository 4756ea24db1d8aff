# METADATA
# title: Images come from approved registries
# description: >-
#   Only registries that scan what they hold, and keep it unchanged, are
#   approved: params.approved_registries lists them.
# scope: package
# custom:
#   id: image/approved-registry
#   code: IMG-002
#   severity: high
#   data: [synthetic, anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.308(a)(5)(ii)(B)
#         why: Software is taken only from where it is looked at for malice before it runs.
#     nist_800_53r5: [SR-3]
#   remediation: Mirror the image to an approved registry, or have the registry added to params.approved_registries.
package image.approved_registry

deny contains result if {
	some image in input.images
	not approved(image)
	result := {
		"msg": sprintf("image %q is not from an approved registry", [image.image]),
		"object": image.object,
		"path": image.path,
	}
}

# A reference that is not understood has no registry, and is not approved.
approved(image) if {
	image.registry != ""
	strings.any_prefix_match(concat("/", [image.registry, image.name]), beginnings)
}

beginnings := [concat("", [trim_suffix(entry, "/"), "/"]) | some entry in data.params.approved_registries]
