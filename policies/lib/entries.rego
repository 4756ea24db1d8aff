# METADATA
# title: Entries
# description: >-
#   What lets requests in, besides Ingress and the Gateway API: objects of the
#   controllers in params.entry_kinds, and what looks like one.
package lib.entries

import data.lib.objects
import data.lib.pods
import data.lib.release

# others are the entries of kinds that are listed, each with what is said there.
others := [{"object": o, "table": table} |
	some kind, table in data.params.entry_kinds
	some o in release.of_kind(kind)
	stands_alone(o, table)
]

stands_alone(_, table) if not table.part_of_another

stands_alone(o, table) if objects.is_set(o, split(table.part_of_another, "."))

# values at a path, each with the path where it stands. Those that are null or
# missing are none.
values(o, path) := [{"path": pods.path_text(place.at), "value": place.value} |
	some place in pods.places_at(o, path)
	place.value != null
]

# one_of is a place where one of the values stands that a table lists by path.
one_of(o, listed) := [place |
	some path, wanted in listed
	some place in values(o, path)
	lower(sprintf("%v", [place.value])) in {lower(text) | some text in wanted}
]

# any_set reports whether something stands at one of the paths.
any_set(o, paths) if {
	some path in paths
	count(values(o, path)) > 0
}

# hosts that an entry is for. One without a host is for every host, "".
hosts(entry) := found if {
	found := [place | some path in entry.table.hosts; some place in values(entry.object, path)]
	count(found) > 0
} else := [{"path": path, "value": ""}] if {
	not entry.table.generated
	path := replace(entry.table.hosts[0], "[]", "[0]")
} else := []

# controllers that an Ingress may be for, by its class. Of a class that is not
# listed nobody knows whose it is.
controllers(o) := found if {
	class := class_of(o)
	found := {name | some name, patterns in data.params.entry_classes; some pattern in patterns; glob.match(pattern, [], class)}
	count(found) > 0
} else := object.keys(data.params.entry_classes)

class_of(o) := class if {
	class := o.spec.ingressClassName
	is_string(class)
} else := release.annotation(o, "kubernetes.io/ingress.class")

# read_by are the annotations of an Ingress but those of another controller than
# its own, to whom they say nothing.
read_by(o) := {name: value |
	own := controllers(o)
	foreign := {prefix |
		some other, prefixes in data.params.entry_prefixes
		not other in own
		some prefix in prefixes
	}
	some name, value in o.metadata.annotations
	is_string(value)
	not strings.any_prefix_match(name, foreign)
}

# Gateways have listeners; so has what adds some to them.
listener_kinds := [
	"Gateway.gateway.networking.k8s.io",
	"ListenerSet.gateway.networking.k8s.io",
	"XListenerSet.gateway.networking.x-k8s.io",
]

# unknown are objects of kinds that nobody has listed, and that name a host and
# where to send what is asked of it: it stands at path.
unknown := [{"object": o, "path": path} |
	some kind, _ in release.index
	not listed(kind)
	some o in release.of_kind(kind)
	some path in [named_host(o)]
	sends_on(o)
]

listed(kind) if not contains(kind, ".")

# Kubernetes' own groups, and those of its projects that rules know.
listed(kind) if regex.match(`^[A-Za-z]+\.([a-z-]+\.)*k8s\.io$`, kind)

listed(kind) if regex.match(`^[A-Za-z]+\.(apps|batch|policy|autoscaling|extensions)$`, kind)

listed(kind) if data.params.entry_kinds[kind]

listed(kind) if kind in data.params.inner_kinds

named_host(o) := concat(".", ["spec", field]) if {
	found := [name | some name in host_fields; is_host(object.get(o, ["spec", name], null))]
	field := found[0]
} else := "spec.rules" if {
	some rule in o.spec.rules
	is_host(rule.host)
} else := "spec.listeners" if {
	some listener in o.spec.listeners
	is_number(listener.port)
}

host_fields := ["host", "hosts", "hostname", "hostnames", "fqdn", "domain", "domains", "virtualhost", "virtualHost", "virtualHosts"]

is_host(value) if {
	is_string(value)
	value != ""
}

is_host(value) if {
	type_name(value) in {"array", "object"}
	count(value) > 0
}

sends_on(o) if {
	some field in ["routes", "http", "tcp", "rules", "service", "services", "backend", "backends", "defaultBackend", "upstream", "upstreams", "to", "paths", "listeners", "virtualHost"]
	value := object.get(o, ["spec", field], null)
	is_host(value)
}
