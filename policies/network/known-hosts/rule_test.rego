package network.known_hosts_test

import data.network.known_hosts

hosts(objects) := found if {
	found := {f.msg | some f in known_hosts.deny} with input.objects as objects
		with data.params.external_hosts as [
			{"host": "*.cloud.example", "agreement": "BAA-7"}, {"host": "status.example.net", "patient_data": "none"},
			{"host": "new.example.net", "agreement": ""},
		]
}

config(value) := {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "a"}, "data": {"URL": value}}

test_hosts_with_an_agreement if {
	every value in ["https://s3.cloud.example/x", "https://status.example.net", "http://api:8000", "postgres://db.data.svc:5432/x", "a text about https://x.example.com/", "", "10"] {
		hosts([config(value)]) == set()
	}
}

test_hosts_without if {
	every value in ["https://analytics.example.com/v1", "https://new.example.net", "https://cloud.example", "https://s3.cloud.example,https://other.example.com"] {
		count(hosts([config(value)])) == 1
	}
}

test_own_hosts if {
	ingress := {
		"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i", "namespace": "a"},
		"spec": {"rules": [{"host": "app.example.com"}]},
	}
	hosts([ingress, config("https://app.example.com/callback")]) == set()
	count(hosts([config("https://app.example.com/callback")])) == 1
}
