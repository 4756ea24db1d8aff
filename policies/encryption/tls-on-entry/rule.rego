# METADATA
# title: What comes in from outside comes encrypted
# description: >-
#   Every host of an Ingress has a certificate, every listener of a Gateway ends
#   or passes on TLS, and plain HTTP is at most redirected.
# scope: package
# custom:
#   id: encryption/tls-on-entry
#   code: ENC-002
#   severity: critical
#   data: [anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(e)(1)
#         why: What patients and clinicians send crosses networks that nobody here controls.
#       - cite: 164.312(e)(2)(ii)
#         why: It is encrypted on that way.
#     nist_800_53r5: [SC-8(1)]
#   remediation: >-
#     List the host under spec.tls of the Ingress; give the Gateway's listener
#     protocol HTTPS with certificateRefs, and a plain one only routes whose every
#     rule redirects to https.
package encryption.tls_on_entry

import data.lib.entries
import data.lib.objects
import data.lib.release

deny contains result if {
	some o in ingresses
	some i, rule in o.spec.rules
	host := object.get(rule, "host", "")
	not covered(o, host)
	result := {
		"msg": sprintf("host %q is in no hosts of spec.tls", [host]),
		"object": objects.ref(o),
		"path": sprintf("spec.rules[%d].host", [i]),
	}
}

deny contains result if {
	some o in ingresses
	objects.is_set(o, ["spec", "defaultBackend"])
	objects.size_of(o, ["spec", "tls"]) == 0
	result := {
		"msg": "the default backend answers without TLS",
		"object": objects.ref(o),
		"path": "spec.defaultBackend",
	}
}

deny contains result if {
	some o in ingresses
	some name, value in o.metadata.annotations
	regex.match(`/(force-)?ssl-redirect$`, name)
	lower(trim_space(value)) in {"false", "f", "0", "no", "n", "off"}
	result := {
		"msg": sprintf("annotation %s switches the redirect to https off", [name]),
		"object": objects.ref(o),
		"path": sprintf("metadata.annotations[%q]", [name]),
	}
}

# Where the controller answers plain requests, too, unless it is told not to.
deny contains result if {
	some o in ingresses
	objects.size_of(o, ["spec", "tls"]) > 0
	known := entries.controllers(o)
	count(known) == 1 # of a class that is not listed nobody knows
	some controller in known
	ways := data.params.entry_redirects[controller]
	not closed(o, ways)
	result := {
		"msg": sprintf("%s answers plain HTTP, too; want one of %s", [controller, concat(", ", [name | some way in ways; some name, _ in way])]),
		"object": objects.ref(o),
		"path": "metadata.annotations",
	}
}

# The first that is set decides.
closed(o, ways) if {
	set := [[value, pattern] |
		some way in ways
		some name, pattern in way
		value := release.annotation(o, name)
		value != ""
	]
	regex.match(set[0][1], set[0][0])
}

deny contains result if {
	some o in gateways
	some i, listener in o.spec.listeners
	not secure(listener)
	not only_redirects(o, listener)
	result := {
		"msg": sprintf("listener %q has protocol %v without TLS", [object.get(listener, "name", ""), object.get(listener, "protocol", "")]),
		"object": objects.ref(o),
		"path": sprintf("spec.listeners[%d]", [i]),
	}
}

# A server of Istio's that takes plain HTTP may only redirect.
deny contains result if {
	some o in release.of_kind("Gateway.networking.istio.io")
	some i, server in o.spec.servers
	upper(object.get(server, ["port", "protocol"], "HTTP")) in {"HTTP", "HTTP2", "GRPC", "GRPC-WEB", "TCP", "MONGO"}
	object.get(server, ["tls", "httpsRedirect"], false) != true
	not istio_secure(server)
	result := {
		"msg": sprintf("the server takes %v without TLS, and does not redirect", [object.get(server, ["port", "protocol"], "HTTP")]),
		"object": objects.ref(o),
		"path": sprintf("spec.servers[%d]", [i]),
	}
}

istio_secure(server) if {
	server.port.protocol == "TCP"
	server.tls.mode in {"PASSTHROUGH", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL", "AUTO_PASSTHROUGH"}
}

# Entries of other controllers: params.entry_kinds says where TLS stands.
deny contains result if {
	some entry in entries.others
	o := entry.object
	paths := entry.table.tls
	not entries.any_set(o, paths)
	result := {
		"msg": missing(paths),
		"object": objects.ref(o),
		"path": array.concat(paths, ["spec"])[0],
	}
}

# It may stand in an object of its own.
deny contains result if {
	some entry in entries.others
	by := entry.table.tls_by
	covering := {lower(place.value) |
		some o in release.of_kind(by.kind)
		objects.namespace_of(o) == objects.namespace_of(entry.object)
		some place in entries.values(o, by.hosts)
	}
	some host in entries.hosts(entry)
	name := lower(sprintf("%v", [host.value]))
	not matched(covering, name)
	result := {
		"msg": sprintf("host %q is in no %s", [name, by.kind]),
		"object": objects.ref(entry.object),
		"path": host.path,
	}
}

# Plain requests are taken besides.
deny contains result if {
	some entry in entries.others
	some place in entries.one_of(entry.object, entry.table.plain)
	result := {
		"msg": sprintf("%v lets plain HTTP in", [place.value]),
		"object": objects.ref(entry.object),
		"path": place.path,
	}
}

deny contains result if {
	some entry in entries.others
	redirect := entry.table.redirect
	count(entries.one_of(entry.object, redirect)) == 0
	path := [path | some path, _ in redirect][0]
	result := {
		"msg": "plain HTTP is answered beside TLS, and not redirected",
		"object": objects.ref(entry.object),
		"path": replace(path, "[]", "[0]"),
	}
}

missing(paths) := sprintf("nothing says that it takes TLS only; want %s", [concat(" or ", paths)]) if {
	count(paths) > 0
} else := "it knows no TLS"

matched(names, host) if {
	some name in names
	matches(name, host)
}

ingresses contains o if {
	some o in input.objects
	objects.kind_key(o) == "Ingress.networking.k8s.io"
}

gateways contains o if {
	some kind in entries.listener_kinds
	some o in release.of_kind(kind)
}

covered(ingress, host) if {
	some tls in ingress.spec.tls
	some name in tls.hosts
	matches(name, host)
}

matches(name, host) if {
	name == host
	host != ""
}

# A wildcard stands for one label.
matches(name, host) if {
	startswith(name, "*.")
	[_, rest] := split_first(host)
	rest == trim_prefix(name, "*.")
}

split_first(host) := [substring(host, 0, dot), substring(host, dot + 1, -1)] if {
	dot := indexof(host, ".")
	dot > 0
}

secure(listener) if {
	listener.protocol in {"HTTPS", "TLS"}
	objects.size_of(listener, ["tls", "certificateRefs"]) > 0
}

secure(listener) if {
	listener.protocol == "TLS"
	listener.tls.mode == "Passthrough"
}

# A plain listener is fine when it has routes, and all they do is redirect.
only_redirects(gateway, listener) if {
	listener.protocol == "HTTP"
	attached := routes(gateway, listener)
	count(attached) > 0
	every route in attached {
		route.kind == "HTTPRoute"
		objects.size_of(route, ["spec", "rules"]) > 0
		every rule in route.spec.rules {
			redirects(rule)
		}
	}
}

routes(gateway, listener) := {o |
	some o in input.objects
	objects.group_of(o) == "gateway.networking.k8s.io"
	some parent in o.spec.parentRefs
	parent.name == gateway.metadata.name
	object.get(parent, "kind", "Gateway") == gateway.kind
	object.get(parent, "namespace", objects.namespace_of(o)) == objects.namespace_of(gateway)
	object.get(parent, "sectionName", listener.name) == listener.name
}

redirects(rule) if {
	some filter in rule.filters
	filter.type == "RequestRedirect"
	filter.requestRedirect.scheme == "https"
}
