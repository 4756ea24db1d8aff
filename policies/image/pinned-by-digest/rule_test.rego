package image.pinned_by_digest_test

import data.image.pinned_by_digest

test_names_object_and_field if {
	object := {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "example", "name": "api"}
	images := [
		{"image": "registry.example.org/a:1", "digest": "", "object": object, "path": "spec.template.spec.containers[0].image"},
		{"image": "registry.example.org/b@sha256:…", "digest": "sha256:…", "object": object, "path": "spec.template.spec.containers[1].image"},
	]
	pinned_by_digest.deny == {{
		"msg": "image \"registry.example.org/a:1\" is not pinned by a sha256 digest",
		"object": object,
		"path": "spec.template.spec.containers[0].image",
	}} with input.images as images
}
