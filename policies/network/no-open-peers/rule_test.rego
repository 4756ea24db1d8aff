package network.no_open_peers_test

import data.network.no_open_peers

paths(spec) := found if {
	found := {f.path | some f in no_open_peers.deny} with input.object as {"spec": spec}
}

test_names_the_peer if {
	paths({"egress": [{"to": [{"podSelector": {}}, {"ipBlock": {"cidr": "0.0.0.0/0"}}]}]}) == {"spec.egress[0].to[1].ipBlock.cidr"}
}

test_wide_blocks if {
	every cidr in ["0.0.0.0/0", "::/0", "0.0.0.0/1", "64.0.0.0/7", "::/00"] {
		count(paths({"ingress": [{"from": [{"ipBlock": {"cidr": cidr}}]}]})) == 1
	}
	every cidr in ["10.0.0.0/8", "192.0.2.0/24", "192.0.2.1/32", "2001:db8::/32", "10.0.0.0/10"] {
		paths({"ingress": [{"from": [{"ipBlock": {"cidr": cidr}}]}]}) == set()
	}
}

test_empty_namespace_selector_alone if {
	paths({"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {}}}]}]}) == {"spec.ingress[0].from[0].namespaceSelector"}
	paths({"ingress": [{"from": [{"podSelector": {}}]}]}) == set()
}

calico(kind, field, peer) := found if {
	found := count(no_open_peers.deny) with input.object as {
		"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": "a"},
		"spec": {"egress": [{"action": "Allow", field: peer}]},
	}
}

test_calico_names_somebody if {
	every peer in [
		{"selector": "app == 'a'"}, {"namespaceSelector": "team in {'a', \"b\"}"}, {"nets": ["192.0.2.0/24"]}, {"domains": ["a.example.org"]},
		{"selector": "all()", "namespaceSelector": "has(team)"}, {"notNets": ["192.0.2.1/32"], "selector": "app contains 'a'"},
		{"selector": "app == 'a' && !has(b) || app starts with 'c'"}, {"serviceAccounts": {"names": ["a"]}},
	] {
		calico("GlobalNetworkPolicy", "destination", peer) == 0
	}
	calico("NetworkPolicy", "destination", {"selector": "all()"}) == 0
}

test_calico_names_nobody if {
	every peer in [
		null, {}, {"nets": []}, {"nets": null}, {"notNets": ["192.0.2.1/32"]}, {"notSelector": "app == 'a'"}, {"ports": [1]},
		{"namespaceSelector": "!has(a)"}, {"namespaceSelector": " all( ) ", "selector": "app != 'a'"}, {"namespaceSelector": "app not in {'==', 'a'}"},
		{"namespaceSelector": "app == 'a' || !has(a)"}, {"namespaceSelector": "has(projectcalico.org/name)"}, {"namespaceSelector": "!(app == 'a')"},
		{"namespaceSelector": "all()", "selector": "all()"}, {"serviceAccounts": {}},
	] {
		calico("NetworkPolicy", "destination", peer) == 1
		calico("GlobalNetworkPolicy", "destination", peer) == 1
	}
	calico("GlobalNetworkPolicy", "destination", {"selector": "all()"}) == 1
}

cilium(rule) := found if {
	found := count(no_open_peers.deny) with input.object as {
		"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": "a"}, "spec": {"ingress": [rule]},
	}
}

test_cilium_null_names_nobody if {
	ports := [{"ports": [{"port": "1"}]}]
	cilium({"fromEndpoints": null, "toPorts": ports}) == 1
	cilium({"fromEndpoints": [{}], "toPorts": ports}) == 0
}

test_cilium_every_namespace if {
	labels := "k8s:io.cilium.k8s.namespace.labels."
	every key, operator in {
		concat("", [labels, "kubernetes.io/metadata.name"]): "Exists", concat("", [labels, "a"]): "DoesNotExist",
		concat("", [labels, "b"]): "NotIn",
	} {
		cilium({"fromEndpoints": [{"matchExpressions": [{"key": key, "operator": operator}]}]}) == 1
	}
	cilium({"fromEndpoints": [{"matchExpressions": [{"key": concat("", [labels, "a"]), "operator": "Exists"}]}]}) == 0
}
