package network.known_entries_test

import data.network.known_entries

found(kind, spec) := paths if {
	paths := {f.path | some f in known_entries.deny} with input.objects as [{
		"apiVersion": "example.org/v1", "kind": kind, "metadata": {"name": "a"},
		"spec": spec,
	}]
		with data.params.entry_kinds as {"Known.example.org": {"tls": ["spec.tls"]}}
		with data.params.inner_kinds as ["Inner.example.org"]
}

test_looks_like_an_entry if {
	found("Front", {"host": "a.example.org", "service": {"name": "a"}}) == {"spec.host"}
	found("Front", {"hosts": ["a.example.org"], "routes": [{"path": "/"}]}) == {"spec.hosts"}
	found("Front", {"virtualhost": {"fqdn": "a.example.org"}, "routes": [{}]}) == {"spec.virtualhost"}
	found("Front", {"rules": [{"host": "a.example.org", "http": {}}]}) == {"spec.rules"}
	found("Front", {"listeners": [{"port": 80}]}) == {"spec.listeners"}
}

test_does_not if {
	every spec in [
		null,
		{},
		{"host": "db.example.org"},
		{"host": "", "service": "a"},
		{"host": null, "to": null},
		{"service": {"name": "a"}},
		{"rules": [{"alert": "Down"}, null]},
		{"listeners": [{"name": "plain"}]},
		{"hosts": [], "routes": [{}]},
	] {
		found("Front", spec) == set()
	}
}

test_listed if {
	every kind in ["Known", "Inner"] {
		found(kind, {"host": "a.example.org", "service": "a"}) == set()
	}
}
