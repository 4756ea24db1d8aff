# METADATA
# title: Each account has a cloud role of its own
# description: >-
#   What a pod may do at the cloud provider is what the role of its
#   ServiceAccount may. A role that two accounts share, or that administers,
#   gives each of them the rights of the other, or all.
# scope: package
# custom:
#   id: rbac/own-cloud-role
#   code: RBAC-004
#   severity: medium
#   data: [anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(4)(ii)(B)
#         why: What a service may reach outside the cluster is granted to it alone.
#       - cite: 164.312(a)(2)(i)
#         why: The provider's log tells which service read a record.
#   remediation: >-
#     Make a role for the one account, with what it uses, and trust only that
#     account's subject. Names of roles that administer are told by
#     params.broad_cloud_roles.
package rbac.own_cloud_role

import data.lib.cloud

deny contains result if {
	some account in cloud.accounts
	others := {other.name |
		some other in cloud.accounts
		other.role == account.role
		other.place != account.place
	}
	count(others) > 0
	result := {
		"msg": sprintf("the cloud role is also that of %s", [concat(", ", sort(others))]),
		"object": account.object,
		"path": account.path,
	}
}

deny contains result if {
	some account in cloud.accounts
	regex.match(data.params.broad_cloud_roles, account.role)
	result := {
		"msg": "the cloud role is called like one that may do everything",
		"object": account.object,
		"path": account.path,
	}
}
