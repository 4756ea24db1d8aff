# METADATA
# title: No rights that lead to all others
# description: >-
#   Who may read Secrets, open a shell in a pod, pass on rights or take on
#   others' identity has more than the role says. params.dangerous_rights lists
#   these rights.
# scope: package
# custom:
#   id: rbac/no-dangerous-rights
#   code: RBAC-003
#   severity: high
#   data: [anonymized, phi]
#   kinds: [Role.rbac.authorization.k8s.io, ClusterRole.rbac.authorization.k8s.io, RoleBinding.rbac.authorization.k8s.io, ClusterRoleBinding.rbac.authorization.k8s.io]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(1)
#         why: A right to patient data is granted as such, and not by way of another.
#     cis_k8s: {version: "1.12", ids: ["5.1.2", "5.1.8", "5.1.9", "5.1.10", "5.1.11", "5.1.12", "5.1.13"]}
#   remediation: >-
#     Grant named objects (resourceNames), or something less. What only an
#     administrator does belongs to the administrators' own environment, with an
#     exception that says why.
package rbac.no_dangerous_rights

import data.lib.objects

deny contains result if {
	some i, rule in input.object.rules
	some right in data.params.dangerous_rights
	some group in rule.apiGroups
	group in right.groups
	some j, resource in rule.resources
	resource in right.resources
	granted := {verb | some verb in rule.verbs; verb in right.verbs}
	count(granted) > 0
	not named(rule, right)
	result := {
		"msg": sprintf("%s of %s: %s", [concat(", ", sort(granted)), resource, right.why]),
		"path": sprintf("rules[%d].resources[%d]", [i, j]),
	}
}

# A role that Kubernetes ships, and that has such rights.
deny contains result if {
	input.object.roleRef.kind == "ClusterRole"
	why := data.params.dangerous_roles[input.object.roleRef.name]
	result := {
		"msg": sprintf("ClusterRole %s: %s", [input.object.roleRef.name, why]),
		"path": "roleRef.name",
	}
}

# What is created has no name yet that could be compared.
named(rule, right) if {
	objects.size_of(rule, ["resourceNames"]) > 0
	object.get(right, "by_name", true)
}
