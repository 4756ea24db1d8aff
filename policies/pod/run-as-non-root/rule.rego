# METADATA
# title: Containers do not run as root
# description: >-
#   Root in a container is root on the node as soon as anything between the two
#   fails. runAsNonRoot makes the kubelet refuse an image that would.
# scope: package
# custom:
#   id: pod/run-as-non-root
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
#     Set securityContext.runAsNonRoot to true for the pod or each container; an
#     image whose USER is root needs runAsUser with another user than 0.
package pod.run_as_non_root

import data.lib.pods

deny contains result if {
	some holder in pods.holders
	holder.security.runAsNonRoot == false
	not pods.has_own_users(holder)
	result := {
		"msg": sprintf("%s sets runAsNonRoot to false", [pods.label(holder)]),
		"path": concat("", [holder.path, ".securityContext.runAsNonRoot"]),
	}
}

deny contains result if {
	some c in pods.containers
	not c.pod.security.runAsNonRoot == true
	object.get(c.container, ["securityContext", "runAsNonRoot"], null) == null
	not pods.has_own_users(c)
	result := {
		"msg": sprintf("neither container %q nor its pod sets runAsNonRoot to true", [c.name]),
		"path": concat("", [c.path, ".securityContext.runAsNonRoot"]),
	}
}
