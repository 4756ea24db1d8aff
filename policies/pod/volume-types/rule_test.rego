package pod.volume_types_test

import data.pod.volume_types

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

paths(spec) := found if {
	found := {f.path | some f in volume_types.deny} with input.object as deployment(spec)
}

test_names_the_source if {
	paths({"volumes": [{"name": "a", "secret": {}}, {"name": "b", "nfs": {"server": "x"}}]}) == {"spec.template.spec.volumes[1].nfs"}
}

test_without_a_source_it_is_an_empty_dir if {
	paths({"volumes": [null, {}, {"name": "a"}, {"name": "b", "nfs": null}]}) == set()
}

test_a_source_that_nobody_knows_is_none_of_the_allowed if {
	paths({"volumes": [{"name": "a", "somethingNew": {}}]}) == {"spec.template.spec.volumes[0].somethingNew"}
}
