package network.default_deny_test

import data.network.default_deny

workload := {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "api", "namespace": "a"}, "spec": {"containers": []}}

policy(spec) := {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": "a"}, "spec": spec}

messages(policies) := found if {
	found := {f.msg | some f in default_deny.deny} with input.objects as array.concat([workload], policies)
}

test_each_direction_is_a_finding if {
	messages([]) == {
		"no NetworkPolicy denies ingress to every pod of namespace \"a\" by default",
		"no NetworkPolicy denies egress to every pod of namespace \"a\" by default",
	}
}

test_policy_types_default_as_the_api_server_has_it if {
	count(messages([policy({"podSelector": {}})])) == 1
	count(messages([policy({"podSelector": {}, "policyTypes": []})])) == 1
	count(messages([policy({"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]})])) == 0
}

test_null_selector_selects_every_pod if {
	count(messages([policy({"podSelector": {"matchLabels": null}, "policyTypes": ["Ingress", "Egress"]})])) == 0
}

test_rule_without_peers_and_ports_is_no_denial if {
	count(messages([policy({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{"from": null}]})])) == 1
}
