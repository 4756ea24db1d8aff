package availability.zone_spread_test

import data.availability.zone_spread

denied(replicas, spec) if {
	count(zone_spread.deny) == 1 with input.objects as [{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "a"},
		"spec": {"replicas": replicas, "template": {"spec": spec}},
	}]
}

test_one_has_nowhere_to_spread if {
	denied(2, {})
	not denied(1, {})
}

test_by_zone_not_by_node if {
	not denied(2, {"topologySpreadConstraints": [{"topologyKey": "topology.kubernetes.io/zone"}]})
	denied(2, {"topologySpreadConstraints": [{"topologyKey": "kubernetes.io/hostname"}]})
}
