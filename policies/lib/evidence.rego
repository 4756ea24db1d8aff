# METADATA
# title: Evidence of images
# description: >-
#   What is recorded of the images of a release, by keys that params.evidence
#   names.
package lib.evidence

# judged: some key may speak of such things, so that what is not there is missing.
judged(kind) if {
	some key in data.params.evidence.keys
	kind in key.may
}

# of an image. Nothing can be recorded of one without a digest.
of(image) := object.get(by_digest, image.digest, {"signatures": [], "provenance": [], "scans": [], "tests": []})

by_digest := {recorded.digest: recorded | some recorded in input.evidence.images}

# finding about an image.
finding(image, message) := {
	"msg": sprintf("%s %s", [name(image), message]),
	"object": image.object,
	"path": image.path,
}

# name is short: the digest says little to people.
name(image) := image.image if {
	image.digest == ""
} else := sprintf("%s@%s…", [split(image.image, "@")[0], substring(image.digest, 0, 15)])
