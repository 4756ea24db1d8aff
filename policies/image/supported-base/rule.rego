# METADATA
# title: No image whose makers have stopped fixing it
# description: >-
#   What is past its end of life gets no fixes: what is found in it stays in it.
#   params.end_of_life has the dates of releases as their tags tell them; an
#   image under a name of your own tells nothing.
# scope: package
# custom:
#   id: image/supported-base
#   code: IMG-005
#   severity: medium
#   data: [synthetic, anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.308(a)(5)(ii)(B)
#         why: Known holes, by which malice gets in, are fixed by somebody.
#   remediation: >-
#     Move to a release that is supported, and have the digest of the new image
#     verified in the environments before.
package image.supported_base

deny contains result if {
	some image in input.images
	some release in ended(image)
	release.until <= today
	result := {
		"msg": sprintf("%s gets no fixes since %s", [release.name, release.until]),
		"object": image.object,
		"path": image.path,
	}
}

# Three months are time to move.
warn contains result if {
	some image in input.images
	some release in ended(image)
	release.until > today
	release.until <= soon
	result := {
		"msg": sprintf("%s gets no fixes after %s", [release.name, release.until]),
		"object": image.object,
		"path": image.path,
	}
}

today := substring(input.now, 0, 10)

soon := time.format([time.add_date(time.parse_rfc3339_ns(input.now), 0, 3, 0), "UTC", "2006-01-02"])

# The image itself, by its name and the version at the start of its tag.
ended(image) := found | stood_on if {
	name := last(image.name)
	version := regex.find_n(`^v?[0-9]+(\.[0-9]+)*`, image.tag, 1)
	found := {{"name": sprintf("%s %s", [name, release]), "until": until} |
		some release, until in data.params.end_of_life.images[name]
		some written in version
		starts(trim_prefix(written, "v"), release)
	}
	stood_on := {{"name": base, "until": until} |
		some part in split(lower(image.tag), "-")
		some base, until in data.params.end_of_life.bases
		part_of(part, base)
	}
}

# The distribution that it stands on, by name: 3.11-slim-bullseye, 18-alpine3.16.
part_of(part, base) if part == base

part_of(part, base) if startswith(part, concat("", [base, "."]))

starts(version, release) if version == release

starts(version, release) if startswith(version, concat("", [release, "."]))

last(name) := steps[count(steps) - 1] if steps := split(name, "/")
