# METADATA
# title: Network policies name their peers
# description: >-
#   A rule without peers, for every address, or for every namespace lets in, or
#   out to, parties that nobody has named.
# scope: package
# custom:
#   id: network/no-open-peers
#   code: NET-002
#   severity: high
#   data: [anonymized, phi]
#   kinds:
#     - NetworkPolicy.networking.k8s.io
#     - AdminNetworkPolicy.policy.networking.k8s.io
#     - BaselineAdminNetworkPolicy.policy.networking.k8s.io
#     - ClusterNetworkPolicy.policy.networking.k8s.io
#     - CiliumNetworkPolicy.cilium.io
#     - CiliumClusterwideNetworkPolicy.cilium.io
#     - NetworkPolicy.projectcalico.org
#     - GlobalNetworkPolicy.projectcalico.org
#     - NetworkPolicy.crd.projectcalico.org
#     - GlobalNetworkPolicy.crd.projectcalico.org
#     - NetworkSet.projectcalico.org
#     - GlobalNetworkSet.projectcalico.org
#     - NetworkSet.crd.projectcalico.org
#     - GlobalNetworkSet.crd.projectcalico.org
#     - CiliumCIDRGroup.cilium.io
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(e)(1)
#         why: Data can only be sent to, or asked for by, whom somebody has written down.
#       - cite: 164.312(a)(1)
#         why: Network reach is the first of the grants that decide who gets at patient data.
#     nist_800_53r5: [AC-4]
#   remediation: >-
#     Name the peers by pod and namespace labels or by the address ranges of one
#     service; for the world outside, go through an egress proxy.
package network.no_open_peers

import data.lib.objects
import data.lib.pods

directions := {"ingress": "from", "egress": "to"}

group := objects.group_of(input.object)

deny contains result if {
	group == "networking.k8s.io"
	some direction, peers in directions
	some i, rule in input.object.spec[direction]
	size(rule, peers) == 0
	result := {
		"msg": sprintf("the rule names no peers in %q, so it is for everyone", [peers]),
		"path": sprintf("spec.%s[%d]", [direction, i]),
	}
}

deny contains result if {
	some peer in named_peers
	is_object(peer.peer.namespaceSelector)
	selects_all(peer.peer, "namespaceSelector")
	selects_all(peer.peer, "podSelector")
	result := {
		"msg": "the namespaceSelector leaves out nobody: it is every pod of every namespace",
		"path": concat("", [peer.path, ".namespaceSelector"]),
	}
}

# Policies of the cluster's administrators may forbid everything, and override
# what namespaces forbid where they allow.
deny contains result if {
	some peer in named_peers
	is_object(peer.peer.namespaces)
	selects_all(peer.peer, "namespaces")
	result := {"msg": "it selects every namespace", "path": concat("", [peer.path, ".namespaces"])}
}

deny contains result if {
	some peer in named_peers
	is_object(peer.peer.pods)
	selects_all(peer.peer.pods, "namespaceSelector")
	selects_all(peer.peer.pods, "podSelector")
	result := {"msg": "it selects every pod of every namespace", "path": concat("", [peer.path, ".pods"])}
}

deny contains result if {
	some block in blocks
	regex.match(`/0*[0-7]$`, block.cidr)
	result := {"msg": sprintf("%s is a large part of all addresses", [block.cidr]), "path": block.path}
}

# The IPv4 addresses have a place among those of IPv6, too.
deny contains result if {
	some block in blocks
	regex.match(`(?i)^[0:]*:ffff:[0-9a-f.:]*/(9[6-9]|10[0-3])$|^64:ff9b::[0-9a-f.:]*/(9[6-9]|10[0-3])$`, block.cidr)
	result := {"msg": sprintf("%s is a large part of all IPv4 addresses", [block.cidr]), "path": block.path}
}

# Many small ranges are a large part together.
deny contains result if {
	some direction, _ in directions
	some family, most in {"IPv4": 65536, "IPv6": 65536}
	sizes := {block.cidr: block.size | some block in blocks; block.direction == direction; block.family == family}
	count(sizes) > 1
	sum([size | some size in sizes]) > most
	result := {
		"msg": sprintf("%d ranges together are a large part of all %s addresses", [count(sizes), family]),
		"path": sprintf("spec.%s", [direction]),
	}
}

named_peers contains {"peer": peer, "path": path, "direction": direction} if {
	some direction, peers in directions
	some i, rule in input.object.spec[direction]
	allows(rule)
	some j, peer in rule[peers]
	path := sprintf("spec.%s[%d].%s[%d]", [direction, i, peers, j])
}

# Rules of administrators say what they do; those of namespaces only allow.
allows(rule) if not rule.action

allows(rule) if rule.action in {"Allow", "Accept", "Log"}

# Cilium's policies have entities for everyone.
deny contains result if {
	some place in cilium_rules
	some entity in place.rule[place.fields.entities]
	entity in {"all", "world", "world-ipv4", "world-ipv6", "cluster"}
	result := {
		"msg": sprintf("entity %q is everyone", [entity]),
		"path": sprintf("%s.%s", [place.path, place.fields.entities]),
	}
}

deny contains result if {
	some place in cilium_rules
	some field in ["toPorts", "icmps"]
	objects.size_of(place.rule, [field]) > 0
	peers := [name |
		some name, value in place.rule
		value != null
		startswith(name, place.fields.peers)
		not name in {"toPorts", "icmps"}
	]
	count(peers) == 0
	result := {"msg": sprintf("it names %s and no peers, so it is for everyone", [field]), "path": place.path}
}

# An endpoint selector is for its own namespace, unless it selects by that, or
# the policy has none.
deny contains result if {
	some place in cilium_rules
	some i, selector in place.rule[place.fields.endpoints]
	cilium_open(selector)
	result := {
		"msg": "the selector leaves out nobody: it is every pod of every namespace",
		"path": sprintf("%s.%s[%d]", [place.path, place.fields.endpoints, i]),
	}
}

deny contains result if {
	some place in cilium_rules
	some i, name in place.rule.toFQDNs
	regex.match(`^[*.]+$`, pods.text(name.matchPattern))
	result := {"msg": "the pattern is every host", "path": sprintf("%s.toFQDNs[%d].matchPattern", [place.path, i])}
}

cilium_open(selector) if {
	input.object.kind == "CiliumClusterwideNetworkPolicy"
	selects_all({"selector": selector}, "selector")
}

cilium_open(selector) if {
	objects.size_of({"selector": selector}, ["selector", "matchLabels"]) == 0
	some e in selector.matchExpressions
	any_namespace(e)
}

any_namespace(e) if {
	endswith(e.key, "io.kubernetes.pod.namespace")
	e.operator in {"Exists", "NotIn"}
}

# Labels of namespaces have a prefix; every one has that with its name.
any_namespace(e) if {
	endswith(e.key, "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name")
	e.operator in {"Exists", "NotIn"}
}

any_namespace(e) if {
	contains(e.key, "io.cilium.k8s.namespace.labels.")
	e.operator in {"NotIn", "DoesNotExist"}
}

cilium_rules contains {"rule": rule, "direction": direction, "fields": fields, "path": path} if {
	group == "cilium.io"
	some spec in cilium_specs
	some direction, fields in cilium_fields
	some i, rule in spec.spec[direction]
	is_object(rule)
	path := sprintf("%s.%s[%d]", [spec.path, direction, i])
}

cilium_fields := {
	"ingress": {"entities": "fromEntities", "endpoints": "fromEndpoints", "peers": "from", "cidr": "fromCIDR", "set": "fromCIDRSet"},
	"egress": {"entities": "toEntities", "endpoints": "toEndpoints", "peers": "to", "cidr": "toCIDR", "set": "toCIDRSet"},
}

cilium_specs contains {"spec": input.object.spec, "path": "spec"}

cilium_specs contains {"spec": spec, "path": sprintf("specs[%d]", [i])} if some i, spec in input.object.specs

# Calico's rules allow everyone where they name no source or no destination.
deny contains result if {
	some place in calico_rules
	peer := object.get(place.rule, place.peer, null)
	unnamed(peer)
	result := {
		"msg": sprintf("the rule names no %s, so it is for everyone", [place.peer]),
		"path": place.path,
	}
}

unnamed(peer) if not is_object(peer)

unnamed(peer) if {
	count({name | some name, value in peer; names_some(name, value, peer)}) == 0
}

# Ports are nobody; what is left out names all others, as an empty list does.
names_some(name, value, _) if {
	not name in {"ports", "selector", "namespaceSelector"}
	not startswith(name, "not")
	not value in {null, "", [], {}}
}

names_some(name, value, _) if {
	name in {"selector", "namespaceSelector"}
	narrows(value)
}

# A selector alone is for the policy's own namespace, if it has one.
names_some("selector", value, peer) if {
	input.object.kind == "NetworkPolicy"
	pods.text(value) != ""
	object.get(peer, "namespaceSelector", null) in {null, ""}
}

# narrows is so for an expression of which each alternative asks for something:
# that a label is not there, or is not so, asks for next to nothing, and every
# namespace has its name.
narrows(expression) if {
	is_string(expression)
	texts := regex.replace(expression, `"[^"]*"|'[^']*'`, "T")
	named := regex.replace(texts, `has\(\s*(projectcalico\.org/(name|namespace)|kubernetes\.io/metadata\.name)\s*\)`, "N")
	plain := regex.replace(named, `!\s*has\([^)]*\)|!=|\bnot\s+in\b|\b(all|global)\(\s*\)`, "N")
	not contains(plain, "!")
	every part in split(plain, "||") {
		regex.match(`==|\bin\b|\bhas\(|\bcontains\b|\bstarts\s+with\b|\bends\s+with\b`, part)
	}
}

calico_rules contains {"rule": rule, "direction": direction, "peer": peer, "path": path} if {
	group in {"projectcalico.org", "crd.projectcalico.org"}
	some direction, peer in {"ingress": "source", "egress": "destination"}
	some i, rule in input.object.spec[direction]
	lower(pods.text(rule.action)) == "allow" # Calico takes any letters
	path := sprintf("spec.%s[%d]", [direction, i])
}

# blocks of addresses, whoever's policy names them. size counts in networks of
# /24, of /32 in IPv6; what is smaller, or nobody's outside, counts for nothing.
blocks contains block if {
	some place in written
	is_string(place.cidr)
	block := object.union(place, measured(place.cidr))
}

written contains {"direction": peer.direction, "cidr": peer.peer.ipBlock.cidr, "path": concat("", [peer.path, ".ipBlock.cidr"])} if {
	some peer in named_peers
}

written contains {"direction": peer.direction, "cidr": cidr, "path": sprintf("%s.networks[%d]", [peer.path, i])} if {
	some peer in named_peers
	some i, cidr in peer.peer.networks
}

written contains {"direction": place.direction, "cidr": cidr, "path": sprintf("%s.%s[%d]", [place.path, place.fields.cidr, i])} if {
	some place in cilium_rules
	some i, cidr in place.rule[place.fields.cidr]
}

written contains {"direction": place.direction, "cidr": entry.cidr, "path": sprintf("%s.%s[%d].cidr", [place.path, place.fields.set, i])} if {
	some place in cilium_rules
	some i, entry in place.rule[place.fields.set]
}

# Sets of addresses that rules take by name, or by label.
written contains {"direction": "egress", "cidr": cidr, "path": sprintf("spec.%s[%d]", [field, i])} if {
	group in {"projectcalico.org", "crd.projectcalico.org", "cilium.io"}
	some field in ["nets", "externalCIDRs"]
	some i, cidr in input.object.spec[field]
}

written contains {"direction": place.direction, "cidr": cidr, "path": sprintf("%s.%s.nets[%d]", [place.path, place.peer, i])} if {
	some place in calico_rules
	some i, cidr in place.rule[place.peer].nets
}

measured(cidr) := {"family": "IPv6", "size": networks(cidr, 32)} if {
	contains(cidr, ":")
} else := {"family": "IPv4", "size": 0} if {
	regex.match(`^(10\.|127\.|192\.168\.|172\.(1[6-9]|2[0-9]|3[01])\.|100\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\.)`, cidr)
} else := {"family": "IPv4", "size": networks(cidr, 24)}

networks(cidr, unit) := bits.lsh(1, unit - length) if {
	[parts] := regex.find_all_string_submatch_n(`/0*([0-9]{1,3})$`, cidr, 1)
	length := to_number(parts[1])
	length <= unit
} else := 0

# A rule that is null names nobody.
size(rule, peers) := objects.size_of(rule, [peers]) if {
	is_object(rule)
} else := 0

selects_all(peer, selector) if {
	objects.size_of(peer, [selector, "matchLabels"]) == 0
	limits := [e | some e in peer[selector].matchExpressions; restricts(e)]
	count(limits) == 0
}

# Every namespace has the label with its name. What only leaves some out lets in
# all others.
restricts(expression) if expression.operator == "In"

restricts(expression) if {
	expression.operator == "Exists"
	expression.key != "kubernetes.io/metadata.name"
}
