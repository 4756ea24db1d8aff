# METADATA
# title: What is reachable from outside says so
# description: >-
#   A node port, a load balancer or an external address passes the Ingress by,
#   with its TLS, its sign-in and its limits. An entry without a host, or for
#   every host, answers to names that nobody has thought of.
# scope: package
# custom:
#   id: network/declared-exposure
#   code: NET-003
#   severity: high
#   data: [anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(e)(1)
#         why: Patient data leaves the cluster only where somebody has decided that it does.
#     nist_800_53r5: [SC-7]
#   remediation: >-
#     Use a Service of type ClusterIP behind the Ingress or Gateway, and name
#     its hosts. What has to be reachable otherwise, such as an HL7 or DICOM
#     port for the hospital's network, says to whom and why in the annotation
#     chaperone.dev/exposed.
package network.declared_exposure

import data.lib.entries
import data.lib.objects
import data.lib.release

deny contains result if {
	some o in undeclared("Service")
	type := o.spec.type
	type in {"NodePort", "LoadBalancer"}
	result := {
		"msg": sprintf("type %s makes the service reachable from outside the cluster", [type]),
		"object": objects.ref(o),
		"path": "spec.type",
	}
}

deny contains result if {
	some o in undeclared("Service")
	objects.size_of(o, ["spec", "externalIPs"]) > 0
	result := {
		"msg": "externalIPs catch traffic for addresses outside the cluster",
		"object": objects.ref(o),
		"path": "spec.externalIPs",
	}
}

deny contains result if {
	some o in undeclared("Ingress.networking.k8s.io")
	some i, rule in o.spec.rules
	host := host_of(rule, "host")
	open(host)
	result := {
		"msg": sprintf("the rule is for %s", [shown(host)]),
		"object": objects.ref(o),
		"path": sprintf("spec.rules[%d].host", [i]),
	}
}

deny contains result if {
	some o in undeclared("Ingress.networking.k8s.io")
	objects.is_set(o, ["spec", "defaultBackend"])
	result := {
		"msg": "the default backend answers for every host that no rule names",
		"object": objects.ref(o),
		"path": "spec.defaultBackend",
	}
}

# A route takes its hosts from the listener where it names none itself, and can
# only narrow those that the listener has.
deny contains result if {
	some kind in entries.listener_kinds
	some o in undeclared(kind)
	some i, listener in o.spec.listeners
	host := host_of(listener, "hostname")
	open(host)
	some r in routes(o, listener)
	some path in open_at(r)
	result := {
		"msg": sprintf("with listener %q of %s %s it is for %s", [object.get(listener, "name", ""), o.kind, o.metadata.name, shown(host)]),
		"object": objects.ref(r),
		"path": path,
	}
}

deny contains result if {
	some kind in ["Gateway.networking.istio.io", "VirtualService.networking.istio.io"]
	some o in undeclared(kind)
	some place in istio_hosts(o)
	regex.match(`^([^/]*/)?\*$`, place.host)
	result := {
		"msg": "the entry is for every host",
		"object": objects.ref(o),
		"path": place.path,
	}
}

# Knative gives each of its services a host that the world may ask.
deny contains result if {
	some o in undeclared("Service.serving.knative.dev")
	object.get(o, ["metadata", "labels", "networking.knative.dev/visibility"], "") != "cluster-local"
	result := {
		"msg": "Knative makes it reachable from outside the cluster; want the label networking.knative.dev/visibility: cluster-local",
		"object": objects.ref(o),
		"path": "metadata.labels",
	}
}

# Entries of other controllers: params.entry_kinds says where hosts stand.
deny contains result if {
	some entry in entries.others
	release.annotation(entry.object, "chaperone.dev/exposed") == ""
	some place in every_host(entry)
	result := {
		"msg": "the entry is for every host",
		"object": objects.ref(entry.object),
		"path": place.path,
	}
}

every_host(entry) := named | (more | matched) if {
	named := {place |
		entry.table.hosts
		some place in entries.hosts(entry)
		open(trim_space(sprintf("%v", [place.value])))
	}
	more := {place | some place in entries.one_of(entry.object, entry.table.any_host)}
	matched := {place |
		some place in entries.values(entry.object, entry.table.match)
		is_string(place.value)
		matches_all(place.value)
	}
}

# An expression of Traefik's that holds without a host, or with a pattern that any
# host fits: H stands for what names a host, P for all other conditions.
matches_all(expression) if {
	some part in split(reduced(reduced(reduced(reduced(letters(expression))))), "||")
	not contains(part, "H")
}

letters(expression) := regex.replace(patterned, concat("", [`[A-Za-z]+\((\s*,?\s*`, text, `)*\s*\)`]), "P") if {
	text := "(`[^`]*`|\"[^\"]*\"|'[^']*')"
	named := regex.replace(expression, `(^|[^A-Za-z])(Host|HostSNI|HostHeader)\((\s*,?\s*[\x60"'][^*\x60"']+[\x60"'])+\s*\)`, "${1}H")
	patterned := regex.replace(named, `(^|[^A-Za-z])(HostRegexp|HostSNIRegexp)\(\s*[\x60"'][^\x60"']*[a-z0-9-]\\?\.[a-z][^\x60"']*[\x60"']\s*\)`, "${1}H")
}

# reduced takes the innermost parentheses away: a host is named in them where it
# is in each alternative.
reduced(formula) := regex.replace(hosts, `\([HP&|\s]*\)`, "P") if {
	plain := regex.replace(formula, `!\s*[HP]`, "P")
	hosts := regex.replace(plain, `\([P&\s]*H[HP&\s]*(\|\|[P&\s]*H[HP&\s]*)*\)`, "H")
}

undeclared(kind) := [o |
	some o in release.of_kind(kind)
	release.annotation(o, "chaperone.dev/exposed") == ""
]

host_of(o, field) := host if {
	host := o[field]
	is_string(host)
} else := ""

open("")

open(host) if startswith(host, "*")

shown("") := "every host"

shown(host) := sprintf("every host of %s", [host]) if host != ""

routes(gateway, listener) := [o |
	some kind in ["HTTPRoute", "GRPCRoute", "TLSRoute"]
	some o in undeclared(concat(".", [kind, "gateway.networking.k8s.io"]))
	some parent in o.spec.parentRefs
	parent.name == gateway.metadata.name
	object.get(parent, "kind", "Gateway") == gateway.kind
	object.get(parent, "namespace", objects.namespace_of(o)) == objects.namespace_of(gateway)
	listener_name := object.get(listener, "name", "")
	object.get(parent, "sectionName", listener_name) == listener_name
]

open_at(route) := {"spec.hostnames"} if {
	objects.size_of(route, ["spec", "hostnames"]) == 0
} else := {sprintf("spec.hostnames[%d]", [i]) | some i, host in route.spec.hostnames; open(host)}

istio_hosts(o) := {{"host": host, "path": sprintf("spec.servers[%d].hosts[%d]", [i, j])} |
	o.kind == "Gateway"
	some i, server in o.spec.servers
	some j, host in server.hosts
} | {{"host": host, "path": sprintf("spec.hosts[%d]", [i])} |
	o.kind == "VirtualService"
	some gateway in o.spec.gateways
	gateway != "mesh"
	some i, host in o.spec.hosts
}
