# METADATA
# title: Nobody is cluster-admin, and no role is for everybody
# description: >-
#   cluster-admin and the group system:masters can do everything, past every
#   policy. A role for all service accounts, or for whoever is signed in or not
#   signed in at all, is a role for the next pod that is broken into.
# scope: package
# custom:
#   id: rbac/no-broad-bindings
#   code: RBAC-002
#   severity: critical
#   data: [synthetic, anonymized, phi]
#   kinds: [RoleBinding.rbac.authorization.k8s.io, ClusterRoleBinding.rbac.authorization.k8s.io]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.308(a)(4)(ii)(B)
#         why: Each grant has a holder whom somebody has authorized.
#     cis_k8s: {version: "1.12", ids: ["5.1.1", "5.1.7"]}
#   remediation: >-
#     Bind a role with the rights that are needed (rbac/no-wildcards) to one
#     group of people or one ServiceAccount by name.
package rbac.no_broad_bindings

deny contains result if {
	name := input.object.roleRef.name
	name in data.params.unlimited_roles
	result := {
		"msg": sprintf("it grants %s, which can do everything", [name]),
		"path": "roleRef.name",
	}
}

deny contains result if {
	some i, subject in input.object.subjects
	subject.kind in {"Group", "User"}
	subject.name in data.params.unlimited_subjects
	result := {
		"msg": sprintf("%s %q stands for more than one person or account", [lower(subject.kind), subject.name]),
		"path": sprintf("subjects[%d].name", [i]),
	}
}

deny contains result if {
	some i, subject in input.object.subjects
	subject.kind == "Group"
	namespace := trim_prefix(subject.name, "system:serviceaccounts:")
	namespace != subject.name
	result := {
		"msg": sprintf("group %q is every service account of namespace %q", [subject.name, namespace]),
		"path": sprintf("subjects[%d].name", [i]),
	}
}
