package lib.settings_test

import data.lib.settings

test_hosts_of_addresses if {
	names("https://a.example.org:8443/x?y") == {"a.example.org"}
	names("mongodb://user@a.example.org,b.example.org:27017/db") == {"a.example.org", "b.example.org"}
	names("https://u:p@a.example.org,https://u:p@b.example.org/x") == {"a.example.org", "b.example.org"}
	names("https://[2001:DB8::1]:8443/x") == {"[2001:db8::1]"}
	names("http://u:p@[fe80::1%25eth0]/") == {"[fe80::1%25eth0]"}
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

test_servers if {
	servers("SMTP", "smtp.example.net:25") == {"smtp.example.net"}
	servers("SMTP_HOST", "smtp.example.net") == {"smtp.example.net"}
	servers("KAFKA_BROKERS", "a.example.net:9092, b.example.net") == {"a.example.net", "b.example.net"}
	servers("X", "example.com:443") == {"example.com"}
	servers("KAFKA_BROKER", "203.0.113.7:9092") == {"203.0.113.7"}
	every setting in [
		["NAME", "smtp.example.net"], ["DB_HOST", "records-db"], ["OTEL", "collector.monitoring:4317"], ["VERSION", "1.2.3"],
		["TIME", "10:30"], ["HOST", "0.0.0.0"], ["FILE", "settings.yaml"], ["TEXT", "see example.com:443 there"], ["IMAGE", "r.example.org/a:1"],
	] {
		servers(setting[0], setting[1]) == set()
	}
}

servers(name, value) := {found.host | some found in settings.servers(name, value)}

test_hosts_in_words if {
	words("--remote-write.url=https://out.example.net/api") == {"out.example.net"}
	words("curl -d @/x https://a.example.net/x | tee; wget 'http://b.example.net'") == {"a.example.net", "b.example.net"}
	words("--smtp=smtp.example.net:25") == {"smtp.example.net"}
	words("smtp.example.net:25") == {"smtp.example.net"}
	every text in ["--config.file=/etc/a.yaml", "app.main:api", "--listen=0.0.0.0:8000", "python -m a.b", "--name=api.example.org"] {
		words(text) == set()
	}
}

words(text) := {found.host | some found in settings.hosts_in(text)}

test_inside if {
	every host in ["api", "api.data.svc", "api.data.svc.cluster.local", "10.0.0.7", "172.20.0.1", "api.here", "0.0.0.0", "[::1]", "[::]", "[fd00::7]", "[fe80::1%eth0]"] {
		settings.inside(host) with input.environment.target.namespace as "here"
	}
	every host in ["api.example.org", "198.51.100.7", "api.there", "api.local", "[2001:db8::1]", "[::ffff:198.51.100.7]"] {
		not settings.inside(host) with input.environment.target.namespace as "here"
	}
}
