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
