package image.supported_base_test

import data.image.supported_base

image(name, tag) := {"image": "", "registry": "r", "name": name, "tag": tag, "digest": "", "object": {}, "path": ""}

found(name, tag, entry) := messages if {
	messages := {f.msg | some f in supported_base[entry]} with input.images as [image(name, tag)]
		with input.now as "2026-01-01T00:00:00Z"
		with data.params.end_of_life as {
			"images": {"node": {"18": "2025-04-30", "20": "2026-03-30", "1": "2012-01-01"}},
			"bases": {"buster": "2024-06-30", "alpine3.16": "2024-05-23"},
		}
}

test_past_its_end if {
	every tag in ["18", "18-slim", "18.19.1", "v18.2"] {
		found("library/node", tag, "deny") == {"node 18 gets no fixes since 2025-04-30"}
	}
	every tag in ["22", "180", "latest", ""] {
		found("library/node", tag, "deny") == set()
	}
}

test_what_it_stands_on if {
	found("team/app", "1.2-buster", "deny") == {"buster gets no fixes since 2024-06-30"}
	found("team/app", "1.2-alpine3.16.2", "deny") == {"alpine3.16 gets no fixes since 2024-05-23"}
	found("team/app", "1.2-alpine3.160", "deny") == set()
}

test_soon if {
	found("node", "20", "deny") == set()
	found("node", "20", "warn") == {"node 20 gets no fixes after 2026-03-30"}
	found("node", "22", "warn") == set()
}

test_other_images_of_that_version if found("team/api", "18.0.0", "deny") == set()
