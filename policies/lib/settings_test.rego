package lib.settings_test

import data.lib.settings

test_hosts_of_addresses if {
	settings.hosts("https://a.example.org:8443/x?y") == {"a.example.org"}
	settings.hosts("mongodb://user@a.example.org,b.example.org:27017/db") == {"a.example.org", "b.example.org"}
	settings.hosts("https://${HOST}/x") == set()
	settings.hosts("see https://a.example.org") == set()
	settings.hosts("text") == set()
	settings.hosts("{\"a\": \"https://a.example.org\"}") == set()
}

test_plain_host if {
	settings.plain_host("HTTP://A.example.org/x") == "a.example.org"
	not settings.plain_host("https://a.example.org")
}

test_inside if {
	every host in ["api", "api.data.svc", "api.data.svc.cluster.local", "10.0.0.7", "172.20.0.1", "api.here"] {
		settings.inside(host) with input.environment.target.namespace as "here"
	}
	every host in ["api.example.org", "198.51.100.7", "api.there"] {
		not settings.inside(host) with input.environment.target.namespace as "here"
	}
}
