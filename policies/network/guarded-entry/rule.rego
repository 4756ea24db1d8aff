# METADATA
# title: Entries limit requests and know who asks
# description: >-
#   What is reachable from outside is guessed at, scraped and flooded. A limit
#   makes that slow, and a sign-in in front of the service makes it impossible
#   for who has no account.
# scope: package
# custom:
#   id: network/guarded-entry
#   code: NET-006
#   severity: medium
#   data: [phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.312(d)
#         why: Who reaches patient data over the entry has shown who they are.
#   remediation: >-
#     Set the controller's annotations for both (params.entry_guards lists
#     them), or attach a policy object. Where something in front or behind does
#     it, say what in chaperone.dev/rate-limit or chaperone.dev/authentication.
package network.guarded_entry

import data.lib.entries
import data.lib.objects
import data.lib.release

deny contains result if {
	some o in own_entries
	some guard, what in guards
	not guarded(o, guard)
	result := {
		"msg": sprintf("nothing %s", [what]),
		"object": objects.ref(o),
		"path": "metadata.annotations",
	}
}

# Entries of other controllers: params.entry_kinds says where both stand. Those
# without a host are found by their TLS, and are for what is no HTTP.
deny contains result if {
	some entry in entries.others
	for_requests(entry.table)
	some guard, what in guards
	not guarded_entry(entry, guard)
	result := {
		"msg": sprintf("nothing %s", [what]),
		"object": objects.ref(entry.object),
		"path": "metadata.annotations",
	}
}

# What is handed on to the controller as it is written may undo all of it.
deny contains result if {
	some o in release.of_kind("Ingress.networking.k8s.io")
	some name, _ in entries.read_by(o)
	release.annotation(o, name) != ""
	some pattern in data.params.raw_entry_annotations
	glob.match(pattern, [], name)
	result := {
		"msg": sprintf("%s is configuration that nobody reads here; it may let requests past what guards the entry", [name]),
		"object": objects.ref(o),
		"path": sprintf("metadata.annotations[%q]", [name]),
	}
}

guards := {"rate_limit": "limits requests", "authentication": "asks who sends them"}

for_requests(table) if table.rate_limit

for_requests(table) if table.guards

for_requests(table) if table.annotations

guarded_entry(entry, guard) if annotated(entry.object, "elsewhere", guard)

guarded_entry(entry, guard) if annotated(entry.object, entry.table.annotations, guard)

guarded_entry(entry, guard) if entries.any_set(entry.object, entry.table[guard])

# By an object of its own that the entry names.
guarded_entry(entry, guard) if {
	by := entry.table.guards
	some place in entries.values(entry.object, by.at)
	some o in release.of_kind(by.kind)
	o.metadata.name == place.value
	objects.namespace_of(o) == objects.namespace_of(entry.object)
	some field in by[guard]
	objects.is_set(o, ["spec", field])
}

own_entries := array.concat(release.of_kind("Ingress.networking.k8s.io"), release.of_kind("Gateway.gateway.networking.k8s.io"))

guarded(o, guard) if {
	some controller in (entries.controllers(o) | {"elsewhere"})
	annotated(o, controller, guard)
}

# By objects that an annotation names, as the controller writes their names.
guarded(o, guard) if {
	some controller in entries.controllers(o)
	by := data.params.entry_plugins[controller]
	names := {trim_space(name) | some name in split(release.annotation(o, by.annotation), ",")}
	some plugin in release.of_kind(by.kind)
	namespace := objects.namespace_of(plugin)
	namespace == objects.namespace_of(o)
	name := plugin.metadata.name
	some written in [name, sprintf("%s-%s@kubernetescrd", [namespace, name])]
	written in names
	some path, wanted in by[guard]
	said(object.get(plugin, split(path, "."), null), wanted)
}

said(value, []) if value != null

said(value, wanted) if value in wanted

annotated(o, controller, guard) if {
	some name in data.params.entry_guards[controller][guard]
	value := release.annotation(o, name)
	not lower(value) in {"", "0", "none", "false", "f", "no", "n", "off", "disabled"}
}

# A policy of the Gateway API, attached to the Gateway or to each of its routes.
guarded(o, guard) if policed(o, guard)

guarded(o, guard) if {
	objects.kind_key(o) == "Gateway.gateway.networking.k8s.io"
	attached := [r |
		some r in release.of_kind("HTTPRoute.gateway.networking.k8s.io")
		some parent in r.spec.parentRefs
		parent.name == o.metadata.name
	]
	count(attached) > 0
	every r in attached {
		policed(r, guard)
	}
}

policed(o, guard) if {
	some kind, fields in data.params.entry_policies[guard]
	some policy in release.of_kind(kind)
	some field in fields
	objects.is_set(policy, array.concat(["spec"], split(field, ".")))
	some target in targets(policy)
	target.kind == o.kind
	target.name == o.metadata.name
	objects.namespace_of(policy) == objects.namespace_of(o)
}

targets(policy) := array.concat(
	[target | some target in policy.spec.targetRefs],
	[target | target := policy.spec.targetRef],
)
