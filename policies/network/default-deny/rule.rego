# METADATA
# title: Namespaces deny traffic by default
# description: >-
#   Without a policy that selects every pod, a pod that nobody thought of talks
#   to all others and to the world. Each direction needs one.
# scope: package
# custom:
#   id: network/default-deny
#   code: NET-001
#   severity: high
#   data: [synthetic, anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(e)(1)
#         why: Patient data in transit is guarded when only connections that were written down exist.
#     cis_k8s: {version: "1.12", ids: ["5.3.2"]}
#     nist_800_53r5: [SC-7(5)]
#   remediation: >-
#     Add a NetworkPolicy with podSelector {} and policyTypes [Ingress, Egress] to
#     the namespace, and remove rules without peers and ports from those that
#     select every pod. Other kinds of policies than network/no-open-peers reads
#     are listed in params.network_policy_kinds once somebody looks after them.
package network.default_deny

import data.lib.objects
import data.lib.pods
import data.lib.release

deny contains result if {
	some [namespace, direction] in missing
	some o in input.objects
	objects.namespace_of(o) == namespace
	runs(o)
	result := {
		"msg": sprintf("no NetworkPolicy denies %s to every pod of namespace %q by default", [lower(direction), namespace]),
		"object": objects.ref(o),
	}
}

# Policies of other kinds add what they allow, or come before these.
deny contains result if {
	some kind, _ in release.index
	regex.match(`^[A-Za-z]*NetworkPolicy\.`, kind)
	not kind in data.params.network_policy_kinds
	some o in release.of_kind(kind)
	result := {
		"msg": sprintf("no rule reads policies of kind %s, so nobody can tell what this one allows", [kind]),
		"object": objects.ref(o),
	}
}

missing contains [namespace, direction] if {
	some namespace in namespaces
	some direction in ["Ingress", "Egress"]
	not [namespace, direction] in closed
}

namespaces := {objects.namespace_of(o) | some o in input.objects}

# What only names an image is run by its operator.
runs(o) if count(pods.specs_of(o)) > 0

runs(o) if objects.ref(o) in with_images

with_images := {image.object | some image in input.images}

closed contains place if {
	some place in selected
	not place in opened
}

selected contains [objects.namespace_of(o), direction] if {
	some o in policies_for_all
	some direction in directions(o)
}

# Policies add up: one that allows everything undoes the others.
opened contains [objects.namespace_of(o), direction] if {
	some o in policies_for_all
	some direction in directions(o)
	some rule in o.spec[lower(direction)]
	everything(rule, {"Ingress": "from", "Egress": "to"}[direction])
}

policies_for_all contains o if {
	some o in release.of_kind("NetworkPolicy.networking.k8s.io")
	objects.size_of(o, ["spec", "podSelector", "matchLabels"]) == 0
	objects.size_of(o, ["spec", "podSelector", "matchExpressions"]) == 0
}

# Left out, policyTypes are Ingress, and Egress where there are egress rules.
directions(o) := {direction | some direction in o.spec.policyTypes} if {
	objects.size_of(o, ["spec", "policyTypes"]) > 0
} else := {"Ingress", "Egress"} if {
	objects.size_of(o, ["spec", "egress"]) > 0
} else := {"Ingress"}

# A rule that is null is empty.
everything(null, _)

everything(rule, peers) if {
	is_object(rule)
	objects.size_of(rule, [peers]) == 0
	objects.size_of(rule, ["ports"]) == 0
}
