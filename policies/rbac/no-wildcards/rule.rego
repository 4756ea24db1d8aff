# METADATA
# title: Roles name what they grant
# description: >-
#   A star grants what exists today and whatever is installed tomorrow:
#   resources, verbs and groups that nobody has looked at.
# scope: package
# custom:
#   id: rbac/no-wildcards
#   code: RBAC-001
#   severity: high
#   data: [synthetic, anonymized, phi]
#   kinds: [Role.rbac.authorization.k8s.io, ClusterRole.rbac.authorization.k8s.io]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.308(a)(4)(ii)(B)
#         why: Access is what somebody decided to grant, right by right.
#     cis_k8s: {version: "1.12", ids: ["5.1.3"]}
#     nist_800_53r5: [AC-6]
#   remediation: >-
#     List the apiGroups, resources and verbs that are used; kubectl auth can-i
#     --list shows what there is.
package rbac.no_wildcards

deny contains result if {
	some i, rule in input.object.rules
	some field in ["apiGroups", "resources", "verbs", "nonResourceURLs"]
	some j, value in rule[field]
	everything(field, value)
	result := {
		"msg": sprintf("%q in %s grants what nobody has named", [value, field]),
		"path": sprintf("rules[%d].%s[%d]", [i, field, j]),
	}
}

everything(_, "*")

# */scale is the subresource of every resource, pods/* is every one of pods.
everything("resources", value) if startswith(value, "*/")

everything("resources", value) if endswith(value, "/*")

everything("nonResourceURLs", "/*")
