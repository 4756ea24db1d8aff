package image.signed_test

import data.image.signed

image(digest) := {"image": concat("@", ["r.example.org/a:1", digest]), "digest": digest, "object": {"name": digest}, "path": "p"}

recorded(signatures, provenance) := {"digest": "sha256:1", "signatures": signatures, "provenance": provenance, "scans": [], "tests": []}

found(entry, class, may, images) := answers if {
	answers := {f.msg | some f in signed[entry]} with input.images as [image("sha256:1")]
		with input.evidence.images as images
		with input.evidence.refused as []
		with input.environment.data as class
		with data.params.evidence.keys as {"ci": {"may": may}}
}

without := {"r.example.org/a:1@sha256:1… has no signature and no provenance by a key that counts; want one in the evidence"}

test_signed if {
	every images in [[recorded([{"key": "ci", "file": "f"}], [])], [recorded([], [{"key": "ci", "file": "f"}])]] {
		found("deny", "phi", ["signature"], images) == set()
		found("warn", "phi", ["signature"], images) == set()
		found("warn", "anonymized", ["provenance"], images) == set()
	}
}

test_not_signed if {
	every images in [[], [recorded([], [])]] {
		found("deny", "phi", ["signature"], images) == without
		found("deny", "phi", ["provenance"], images) == without
		found("deny", "anonymized", ["signature"], images) == set()
		found("warn", "anonymized", ["signature"], images) == without
	}
}

test_not_judged if {
	found("deny", "phi", ["scan"], []) == set()
	found("warn", "phi", ["scan"], []) == set()
	count(found("audit", "phi", ["scan"], [])) == 1
}

test_what_does_not_count_is_told if {
	told := signed.warn with input.images as []
		with input.evidence.refused as [{"file": "f.json", "reason": "empty", "digests": []}]
		with data.params.evidence.keys as {"ci": {"may": ["signature"]}}
	told == {{"msg": "f.json does not count: empty"}}
}
