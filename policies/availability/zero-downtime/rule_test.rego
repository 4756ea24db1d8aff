package availability.zero_downtime_test

import data.availability.zero_downtime

paths(spec) := found if {
	found := {f.path | some f in zero_downtime.deny} with input.objects as [{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "a"},
		"spec": object.union({"template": {"spec": {"containers": []}}}, spec),
	}]
}

test_default_is_a_quarter if {
	every spec in [{}, {"strategy": {}}, {"strategy": {"type": "RollingUpdate"}}, {"strategy": {"rollingUpdate": {"maxSurge": 1}}}] {
		paths(spec) == {"spec.strategy.rollingUpdate.maxUnavailable"}
	}
}

test_none_is_zero_in_each_spelling if {
	every value in [0, "0", "0%"] {
		paths({"strategy": {"rollingUpdate": {"maxUnavailable": value}}}) == set()
	}
}
