package pod.added_capabilities_test

import data.pod.added_capabilities

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

findings(capabilities) := found if {
	spec := {"containers": [{"name": "app", "securityContext": {"capabilities": capabilities}}]}
	found := {f.path | some f in added_capabilities.deny} with input.object as deployment(spec)
}

test_default_ones_may_be_added if findings({"add": ["CHOWN", "KILL", "NET_BIND_SERVICE"]}) == set()

test_nothing_added if {
	every capabilities in [null, {}, {"add": null}, {"add": []}, {"drop": ["SYS_ADMIN"]}] {
		findings(capabilities) == set()
	}
}

test_each_other_one_is_named if {
	findings({"add": ["CHOWN", "NET_RAW", null, "ALL"]}) == {
		"spec.template.spec.containers[0].securityContext.capabilities.add[1]",
		"spec.template.spec.containers[0].securityContext.capabilities.add[2]",
		"spec.template.spec.containers[0].securityContext.capabilities.add[3]",
	}
}
