# METADATA
# title: No cloud role or store of another environment
# description: >-
#   A role or path that carries another environment's name is that
#   environment's: what reads it there reads it here, too.
#   params.environment_names lists the names, and which mean the same.
# scope: package
# custom:
#   id: rbac/own-environment-role
#   code: RBAC-005
#   severity: high
#   data: [anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.308(a)(4)(ii)(B)
#         why: Who was granted one environment's data was not granted another's.
#   remediation: >-
#     Give this environment a role of its own, named after it, and trust only
#     its own ServiceAccounts.
package rbac.own_environment_role

import data.lib.cloud

deny contains result if {
	some account in cloud.accounts
	some other in cloud.others(account.role)
	result := {
		"msg": sprintf("the cloud role carries %q, the name of another environment", [other]),
		"object": account.object,
		"path": account.path,
	}
}
