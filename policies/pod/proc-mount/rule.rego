# METADATA
# title: Containers see a masked /proc
# description: >-
#   Some files in /proc tell about the node and change it. The runtime masks
#   them; an unmasked procMount shows them.
# scope: package
# custom:
#   id: pod/proc-mount
#   code: POD-006
#   severity: high
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(1)
#         why: The mask keeps a container from reading of the node, and so of its neighbours, what nobody granted it.
#     pss: [baseline, restricted]
#     cis_k8s: {version: "1.12", ids: ["5.7.3"]}
#     nist_800_53r5: [AC-6]
#   remediation: >-
#     Remove securityContext.procMount. Where there is no data of people, it
#     may be Unmasked in a pod with hostUsers false.
package pod.proc_mount

import data.lib.pods

deny contains result if {
	some c in pods.containers
	mount := c.security.procMount
	not mount in {"Default", null}
	not relaxed(c)
	result := {
		"msg": sprintf("container %q has procMount %v; want Default", [c.name, mount]),
		"path": concat("", [c.path, ".securityContext.procMount"]),
	}
}

relaxed(c) if {
	pods.has_own_users(c)
	not pods.restricted
}
