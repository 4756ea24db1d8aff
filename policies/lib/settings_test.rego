package lib.settings_test

import data.lib.settings

test_hosts_of_addresses if {
	names("https://a.example.org:8443/x?y") == {"a.example.org"}
	names("mongodb://user@a.example.org,b.example.org:27017/db") == {"a.example.org", "b.example.org"}
	names("https://u:p@a.example.org,https://u:p@b.example.org/x") == {"a.example.org", "b.example.org"}
	settings.hosts("https://${HOST}/x") == set()
	settings.hosts("see https://a.example.org") == set()
	settings.hosts("text") == set()
	settings.hosts("{\"a\": \"https://a.example.org\"}") == set()
}

# No part of a password is a host, nor shown where it might be one.
test_hosts_are_no_passwords if {
	names("postgres://app:abc,Sup3r.Secret.Part,x@db/x") == {"db"}
	names("postgres://app:p@Sup3r.Secret@db.example.org/x") == {"db.example.org"}
	every value in ["https://x:a/1,Sup3r.Secret@db", "https://x:a/1,Sup3r.Secret,y@db", "https://x:a?1,Sup3r.Secret,y@db"] {
		every found in settings.hosts(value) {
			not contains(found.shown, "secret")
		}
	}
	settings.hosts("https://u:p@a.example.org") == {{"host": "a.example.org", "shown": "\"a.example.org\""}}
	settings.plain_host("http://u:p@Sup3r.Secret@a.example.org") == "a.example.org"
}

names(value) := {found.host | some found in settings.hosts(value)}

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
