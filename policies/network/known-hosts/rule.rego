# METADATA
# title: Whoever outside may get patient data has an agreement
# description: >-
#   A service of somebody else that receives patient data is a business
#   associate. params.external_hosts names each host that may be reached, with
#   its agreement, or that it gets no patient data.
# scope: package
# custom:
#   id: network/known-hosts
#   code: NET-008
#   severity: medium
#   data: [phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(b)(1)
#         why: Patient data goes only to those who have promised in a contract to protect it.
#   remediation: >-
#     Have the host added to params.external_hosts with the agreement's
#     reference, or with patient_data: none where it gets none.
package network.known_hosts

import data.lib.objects
import data.lib.release
import data.lib.settings

deny contains result if {
	some place in places
	host := lower(place.host)
	not settings.inside(host)
	not own(host)
	not known(host)
	result := {
		"msg": sprintf("%s %s, with whom no agreement is listed", [place.what, shown(place)]),
		"object": place.object,
		"path": place.path,
	}
}

places contains place if {
	some setting in settings.all
	some found in (settings.hosts(setting.value) | settings.servers(setting.name, setting.value))
	place := {
		"what": sprintf("%s leads to", [setting.name]),
		"host": found.host,
		"shown": found.shown,
		"object": setting.object,
		"path": setting.path,
	}
}

places contains place if {
	some word in settings.words
	some found in settings.hosts_in(word.text)
	place := {
		"what": "a command leads to",
		"host": found.host,
		"shown": found.shown,
		"object": word.object,
		"path": word.path,
	}
}

places contains place if {
	some o in release.of_kind("Service")
	o.spec.type == "ExternalName"
	place := {"what": "the service leads to", "host": o.spec.externalName, "object": objects.ref(o), "path": "spec.externalName"}
}

places contains place if {
	some o in release.of_kind("ServiceEntry.networking.istio.io")
	object.get(o, ["spec", "location"], "MESH_EXTERNAL") == "MESH_EXTERNAL"
	some i, host in o.spec.hosts
	place := {"what": "the mesh lets out to", "host": host, "object": objects.ref(o), "path": sprintf("spec.hosts[%d]", [i])}
}

shown(place) := place.shown

shown(place) := sprintf("%q", [lower(place.host)]) if not place.shown

known(host) if {
	some entry in data.params.external_hosts
	vouched(entry)
	same(entry.host, host)
}

vouched(entry) if trim_space(entry.agreement) != ""

vouched(entry) if entry.patient_data == "none"

same(host, host)

same(pattern, host) if {
	startswith(pattern, "*.")
	endswith(host, trim_prefix(pattern, "*"))
}

# What this release answers for itself.
own(host) if host in own_hosts

own_hosts := {host |
	some o in release.of_kind("Ingress.networking.k8s.io")
	some rule in o.spec.rules
	is_string(rule.host)
	host := lower(rule.host)
} | {host |
	some o in release.of_kind("HTTPRoute.gateway.networking.k8s.io")
	some name in o.spec.hostnames
	host := lower(name)
}
