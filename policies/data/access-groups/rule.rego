# METADATA
# title: Only the groups that an environment names have access
# description: >-
#   Bindings of roles name groups of the environment's access list, and nobody by
#   name where real patient data is: who joins and leaves is the identity
#   provider's to say. Accounts are the environment's own: whoever deploys
#   elsewhere could act here through theirs.
# scope: package
# custom:
#   id: data/access-groups
#   code: DAT-004
#   severity: high
#   data: [synthetic, anonymized, phi]
#   kinds: [RoleBinding.rbac.authorization.k8s.io, ClusterRoleBinding.rbac.authorization.k8s.io]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(3)(ii)(A)
#         why: Who works with patient data is decided where it is written down, not in a binding.
#       - cite: 164.308(a)(4)(ii)(B)
#         why: Access is granted to those that the environment names.
#     nist_800_53r5: [AC-3, AC-6]
#   remediation: >-
#     Bind roles to groups of spec.access of the environment, or add the group
#     there and have that reviewed. Bind accounts of the environment's own
#     namespace; what serves every environment is listed in
#     params.trusted_accounts.
package data.access_groups

import data.lib.objects
import data.lib.pods

deny contains result if {
	not input.environment.imagined # nobody has written a list for it
	some i, subject in subjects
	subject.kind == "Group"
	name := object.get(subject, "name", "")
	not name in allowed
	result := {
		"msg": sprintf("group %s is not in the environment's access list (%s)", [name, concat(", ", input.environment.access)]),
		"path": sprintf("subjects[%d].name", [i]),
	}
}

deny contains result if {
	input.environment.data == "phi"
	some i, subject in subjects
	subject.kind == "User"
	result := {
		"msg": sprintf("user %s is bound by name; want a group of the environment's access list", [object.get(subject, "name", "")]),
		"path": sprintf("subjects[%d]", [i]),
	}
}

deny contains result if {
	not input.environment.imagined # nobody has said where it runs
	some i, subject in subjects
	account := account_of(subject)
	namespace := account.namespace
	not namespace in own_namespaces
	not trusted(account)
	result := {
		"msg": sprintf("account %s of namespace %s has rights here; want one of %s", [
			account.name,
			namespace,
			concat(", ", sort(own_namespaces)),
		]),
		"path": sprintf("subjects[%d]", [i]),
	}
}

# An account may be named as the user that it is, too.
account_of(subject) := {"namespace": namespace, "name": pods.text(object.get(subject, "name", ""))} if {
	subject.kind == "ServiceAccount"
	namespace := pods.text(object.get(subject, "namespace", objects.namespace_of(input.object)))
} else := {"namespace": parts[2], "name": parts[3]} if {
	subject.kind == "User"
	parts := split(pods.text(object.get(subject, "name", "")), ":")
	array.slice(parts, 0, 2) == ["system", "serviceaccount"]
	count(parts) == 4
}

own_namespaces contains input.environment.target.namespace

own_namespaces contains allowance.namespace if {
	some allowance in input.environment.target.allow
	allowance.namespace != ""
}

trusted(account) if {
	some listed in data.params.trusted_accounts
	listed in {concat("/", [account.namespace, account.name]), concat("", [account.namespace, "/*"])}
}

subjects := list if {
	list := object.get(input.object, "subjects", [])
	is_array(list)
} else := []

# The accounts of a namespace are no people.
allowed contains name if some name in input.environment.access

allowed contains concat(":", ["system:serviceaccounts", objects.namespace_of(input.object)])
