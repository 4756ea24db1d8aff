package promotion.verified_images_test

import data.promotion.verified_images

one := "registry.example.org/a@sha256:1"

image := {"image": one, "digest": "sha256:1", "object": {"name": "a"}, "path": "p"}

upstream(state, images) := {"environment": "example/staging", "state": state, "images": images}

denials(upstreams, images) := found if {
	found := count(verified_images.deny) with input.images as [image]
		with input.upstream as upstreams
		with input.lastGood.images as images
		with input.approval.override as ""
		with input.environment.after as ["example/staging"]
}

test_verified_before if {
	denials([upstream("verified", [one])], []) == 0
	denials([upstream("rendered", [one])], []) == 0
	denials([upstream("verified", ["mirror.example.org/a:1.0@sha256:1"])], []) == 0
}

test_verified_here if denials([upstream("verified", [])], [one]) == 0

test_not_verified if {
	denials([upstream("verified", ["registry.example.org/a@sha256:2"])], []) == 1
	denials([upstream("verified", ["registry.example.org/a:sha256-1"])], []) == 1
	denials([upstream("none", [one])], []) == 1
	denials([upstream("unknown", [one])], []) == 1
	denials([], []) == 1
}

test_an_override_is_told if {
	found := verified_images.warn with input.images as [image]
		with input.upstream as []
		with input.lastGood.images as []
		with input.approval.override as "the database is on fire"
		with input.environment.after as ["example/staging"]
	count(found) == 1
}

test_an_override_lets_it_in if {
	found := verified_images.deny with input.images as [image]
		with input.upstream as []
		with input.lastGood.images as []
		with input.approval.override as "the database is on fire"
		with input.environment.after as ["example/staging"]
	count(found) == 0
}

test_first_environment if {
	found := verified_images.deny with input.images as [image]
		with input.upstream as []
		with input.lastGood.images as []
		with input.approval.override as ""
		with input.environment.after as []
	count(found) == 0
}
