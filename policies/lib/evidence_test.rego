package lib.evidence_test

import data.lib.evidence

image(digest) := {"image": concat("@", ["r.example.org/a:1", digest]), "digest": digest, "object": {}, "path": "p"}

recorded := {"digest": "sha256:1", "signatures": [{"key": "ci", "file": "f"}], "provenance": [], "scans": [], "tests": []}

test_judged if {
	evidence.judged("scan") with data.params.evidence.keys as {"ci": {"may": ["test", "scan"]}}
	not evidence.judged("scan") with data.params.evidence.keys as {"ci": {"may": ["test"]}}
	not evidence.judged("scan") with data.params.evidence.keys as {}
}

test_of if {
	evidence.of(image("sha256:1")) == recorded with input.evidence.images as [recorded]
	evidence.of(image("sha256:2")).signatures == [] with input.evidence.images as [recorded]
	evidence.of(image("")).signatures == [] with input.evidence.images as [recorded]
}

test_name if {
	evidence.name(image("sha256:1234567890")) == "r.example.org/a:1@sha256:12345678…"
	evidence.name({"image": "r.example.org/a:1", "digest": ""}) == "r.example.org/a:1"
}
