package governance.all_in_release_test

import data.governance.all_in_release

paths(kind, spec) := found if {
	found := {f.path | some f in all_in_release.deny} with input.objects as [{
		"apiVersion": "example.org/v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec,
	}]
		with data.params.bringing_kinds as {"Chart.example.org": ["spec"], "Policy.example.org": ["spec.rules[].generate"]}
}

test_what_brings_objects if {
	paths("Chart", {}) == {"spec"}
	paths("Policy", {"rules": [{"validate": {}}, {"generate": {"kind": "Pod"}}]}) == {"spec.rules[1].generate"}
}

test_what_brings_none if {
	paths("Policy", {"rules": [{"validate": {}, "generate": null}]}) == set()
	paths("Other", {}) == set()
}
