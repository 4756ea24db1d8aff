package lib.release_test

import data.lib.release

objects := [
	{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "annotations": {"note": " why ", "odd": 1}}},
	{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "b"}},
]

test_kinds_are_told_apart_by_group if {
	found := [o.metadata.name | some o in release.of_kind("Service")] with input.objects as objects
	found == ["a"]
}

test_no_object_of_a_kind if count(release.of_kind("Secret")) == 0 with input.objects as objects

test_annotation if {
	release.annotation(objects[0], "note") == "why"
	release.annotation(objects[0], "odd") == ""
	release.annotation(objects[1], "note") == ""
}
