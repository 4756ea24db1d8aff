# METADATA
# title: Containers are not given the user root
# description: >-
#   runAsUser 0 is root, and root in a container is root on the node as soon as
#   anything between the two fails.
# scope: package
# custom:
#   id: pod/run-as-user
#   code: POD-009
#   severity: high
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(1)
#         why: A process with no more rights than it needs reaches no more patient data than it was granted.
#     pss: [restricted]
#     cis_k8s: {version: "1.12", ids: ["5.2.7"]}
#     nist_800_53r5: [AC-6]
#   remediation: >-
#     Set securityContext.runAsUser to another user than 0, or leave it to the
#     image and set runAsNonRoot to true.
package pod.run_as_user

import data.lib.pods

deny contains result if {
	some holder in pods.holders
	holder.security.runAsUser == 0
	not pods.has_own_users(holder)
	pods.minor >= 23
	result := {
		"msg": sprintf("%s sets runAsUser to 0, which is root", [pods.label(holder)]),
		"path": concat("", [holder.path, ".securityContext.runAsUser"]),
	}
}
