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
#   kinds: [NetworkPolicy.networking.k8s.io, CiliumNetworkPolicy.cilium.io, CiliumClusterwideNetworkPolicy.cilium.io]
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

deny contains result if {
	some direction, peers in {"ingress": "from", "egress": "to"}
	objects.group_of(input.object) == "networking.k8s.io"
	some i, rule in input.object.spec[direction]
	size(rule, peers) == 0
	result := {
		"msg": sprintf("the rule names no peers in %q, so it is for everyone", [peers]),
		"path": sprintf("spec.%s[%d]", [direction, i]),
	}
}

deny contains result if {
	some peer in named_peers
	regex.match(`/0*[0-7]?$`, peer.peer.ipBlock.cidr)
	result := {
		"msg": sprintf("%s is a large part of all addresses", [peer.peer.ipBlock.cidr]),
		"path": concat("", [peer.path, ".ipBlock.cidr"]),
	}
}

# Many small ranges are a large part together; the IPv4 addresses have a place
# among those of IPv6, too.
deny contains result if {
	some direction, peers in {"ingress": "from", "egress": "to"}
	some i, rule in input.object.spec[direction]
	wide := [block |
		some peer in rule[peers]
		block := peer.ipBlock.cidr
		regex.match(`^[0-9.]+/0*([89]|1[0-1])$`, block)
		not regex.match(`^(10|100)\.`, block)
	]
	count(wide) > 1
	result := {
		"msg": sprintf("%s together are a large part of all addresses", [concat(", ", wide)]),
		"path": sprintf("spec.%s[%d].%s", [direction, i, peers]),
	}
}

deny contains result if {
	some peer in named_peers
	regex.match(`(?i)^[0:]*:ffff:[0-9.:]*/(9[6-9]|10[0-3])$|^[0-9.]+:.*/0*[0-7]$`, peer.peer.ipBlock.cidr)
	result := {
		"msg": sprintf("%s is a large part of all IPv4 addresses", [peer.peer.ipBlock.cidr]),
		"path": concat("", [peer.path, ".ipBlock.cidr"]),
	}
}

# Cilium's policies have entities for everyone, and lists that are empty.
deny contains result if {
	objects.group_of(input.object) == "cilium.io"
	some spec in cilium_specs
	some direction, field in {"ingress": "fromEntities", "egress": "toEntities"}
	some i, rule in spec.spec[direction]
	some entity in rule[field]
	entity in {"all", "world", "world-ipv4", "world-ipv6"}
	result := {
		"msg": sprintf("entity %q is everyone", [entity]),
		"path": sprintf("%s.%s[%d].%s", [spec.path, direction, i, field]),
	}
}

deny contains result if {
	objects.group_of(input.object) == "cilium.io"
	some spec in cilium_specs
	some direction, fields in {"ingress": ["fromCIDR"], "egress": ["toCIDR"]}
	some i, rule in spec.spec[direction]
	some field in fields
	some j, cidr in rule[field]
	regex.match(`/0*[0-7]$`, cidr)
	result := {
		"msg": sprintf("%s is a large part of all addresses", [cidr]),
		"path": sprintf("%s.%s[%d].%s[%d]", [spec.path, direction, i, field, j]),
	}
}

cilium_specs contains {"spec": input.object.spec, "path": "spec"}

cilium_specs contains {"spec": spec, "path": sprintf("specs[%d]", [i])} if some i, spec in input.object.specs

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

named_peers contains {"peer": peer, "path": path} if {
	some direction, peers in {"ingress": "from", "egress": "to"}
	some i, rule in input.object.spec[direction]
	some j, peer in rule[peers]
	path := sprintf("spec.%s[%d].%s[%d]", [direction, i, peers, j])
}

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
