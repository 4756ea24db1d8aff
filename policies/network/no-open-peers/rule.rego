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
#   kinds: [NetworkPolicy.networking.k8s.io]
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

deny contains result if {
	some peer in named_peers
	is_object(peer.peer.namespaceSelector)
	selects_all(peer.peer, "namespaceSelector")
	selects_all(peer.peer, "podSelector")
	result := {
		"msg": "the empty namespaceSelector is every pod of every namespace",
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
	objects.size_of(peer, [selector, "matchExpressions"]) == 0
}
