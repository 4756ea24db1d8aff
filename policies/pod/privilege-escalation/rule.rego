# METADATA
# title: Processes cannot gain privileges
# description: >-
#   Unless allowPrivilegeEscalation is false, a set-user-ID program in the image
#   gives a process more than it was started with.
# scope: package
# custom:
#   id: pod/privilege-escalation
#   code: POD-011
#   severity: high
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(1)
#         why: What a process may reach stays what it was granted when it started.
#     pss: [restricted]
#     cis_k8s: {version: "1.12", ids: ["5.2.6"]}
#     nist_800_53r5: [AC-6]
#   remediation: Set securityContext.allowPrivilegeEscalation to false for every container.
package pod.privilege_escalation

import data.lib.pods

deny contains result if {
	some c in pods.containers
	not c.security.allowPrivilegeEscalation == false
	not pods.on_windows(c)
	pods.minor >= 8
	result := {
		"msg": sprintf("container %q does not set allowPrivilegeEscalation to false", [c.name]),
		"path": concat("", [c.path, ".securityContext.allowPrivilegeEscalation"]),
	}
}
