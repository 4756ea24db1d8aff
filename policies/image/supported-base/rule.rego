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

# The image itself, by its name and the version at the start of its tag, and the
# distribution that it stands on, by a part of it: 3.11-slim-bullseye, 18-alpine3.16.
ended(image) := found | stood_on if {
	name := last(image.name)
	found := {{"name": sprintf("%s %s", [name, release]), "until": until} |
		releases := data.params.end_of_life.images[name]
		[version] := regex.find_n(`^v?[0-9]+(\.[0-9]+)*`, image.tag, 1)
		some release in beginnings(trim_prefix(version, "v"))
		until := releases[release]
	}
	stood_on := {{"name": base, "until": until} |
		contains(image.tag, "-")
		some part in split(lower(image.tag), "-")
		some base in beginnings(part)
		until := data.params.end_of_life.bases[base]
	}
}

# 3.16.2 begins with 3, 3.16 and 3.16.2.
beginnings(version) := {concat(".", array.slice(parts, 0, i)) | some i in numbers.range(1, count(parts))} if {
	parts := split(version, ".")
}

last(name) := steps[count(steps) - 1] if steps := split(name, "/")
