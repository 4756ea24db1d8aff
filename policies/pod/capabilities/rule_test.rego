package pod.capabilities_test

import data.pod.capabilities

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

findings(context) := found if {
	found := {f.msg | some f in capabilities.deny} with input.object as deployment({"containers": [{
		"name": "app",
		"securityContext": context,
	}]})
		with data.params.pod_security_version as "latest"
}

test_drop_all if findings({"capabilities": {"drop": ["ALL"]}}) == set()

test_missing_or_null_drops_nothing if {
	every context in [null, {}, {"capabilities": null}, {"capabilities": {"drop": null}}, {"capabilities": {"drop": []}}] {
		findings(context) == {"container \"app\" does not drop ALL capabilities"}
	}
}

test_every_added_capability_is_named if {
	findings({"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN", "NET_BIND_SERVICE", "NET_RAW"]}}) == {
		"container \"app\" adds capability SYS_ADMIN",
		"container \"app\" adds capability NET_RAW",
	}
}

test_windows_had_to_say_so_before_1_25 if {
	spec := {"os": {"name": "windows"}, "containers": [{"securityContext": {"capabilities": {"add": ["CHOWN"]}}}]}
	every version, refused in {"1.21": 0, "1.22": 2, "1.24": 2, "1.25": 0} {
		count(capabilities.deny) == refused with input.object as deployment(spec)
			with data.params.pod_security_version as version
	}
}
