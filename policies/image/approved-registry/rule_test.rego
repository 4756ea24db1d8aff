package image.approved_registry_test

import data.image.approved_registry

denied(registry, name) if {
	image := {"image": "", "registry": registry, "name": name, "object": {}, "path": ""}
	count(approved_registry.deny) == 1 with input.images as [image]
		with data.params.approved_registries as ["registry.example.org", "mirror.example.org/approved/"]
}

test_whole_registry if not denied("registry.example.org", "team/api")

test_repository_in_a_registry if {
	not denied("mirror.example.org", "approved/api")
	denied("mirror.example.org", "other/api")
}

test_match_ends_at_a_slash if {
	denied("registry.example.org.evil.example", "api")
	denied("registry.example.orgx", "api")
	denied("mirror.example.org", "approved-by-nobody/api")
}

test_reference_that_is_not_understood if denied("", "")
