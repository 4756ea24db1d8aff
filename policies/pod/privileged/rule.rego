# METADATA
# title: Containers are not privileged
# description: >-
#   A privileged container has the node: every other container's memory, files
#   and secrets with it.
# scope: package
# custom:
#   id: pod/privileged
#   code: POD-001
#   severity: critical
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(1)
#         why: Access to patient data is decided by grants, which a process that owns the node goes around.
#     pss: [baseline]
#     cis_k8s: {version: "1.12", ids: ["5.2.2"]}
#     nist_800_53r5: [AC-6]
#   remediation: Remove securityContext.privileged; add the one capability or device that is needed.
package pod.privileged

import data.lib.pods

deny contains result if {
	some c in pods.containers
	c.security.privileged == true
	result := {
		"msg": sprintf("container %q is privileged", [c.name]),
		"path": concat("", [c.path, ".securityContext.privileged"]),
	}
}
