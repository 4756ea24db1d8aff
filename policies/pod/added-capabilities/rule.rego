# METADATA
# title: Containers add no capabilities beyond the default ones
# description: >-
#   A capability beyond those that a runtime gives anyway, such as SYS_ADMIN,
#   NET_ADMIN or NET_RAW, is a part of root on the node, or lets a container
#   read and forge its neighbours' traffic.
# scope: package
# custom:
#   id: pod/added-capabilities
#   code: POD-005
#   severity: high
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(1)
#         why: A container with a part of root on the node reaches patient data that it was never granted.
#     pss: [baseline]
#     cis_k8s: {version: "1.12", ids: ["5.2.8", "5.2.9"]}
#     nist_800_53r5: [AC-6]
#   remediation: >-
#     Remove it from securityContext.capabilities.add.
package pod.added_capabilities

import data.lib.pods

default_capabilities := {
	"AUDIT_WRITE",
	"CHOWN",
	"DAC_OVERRIDE",
	"FOWNER",
	"FSETID",
	"KILL",
	"MKNOD",
	"NET_BIND_SERVICE",
	"SETFCAP",
	"SETGID",
	"SETPCAP",
	"SETUID",
	"SYS_CHROOT",
}

deny contains result if {
	some c in pods.containers
	some i, capability in c.security.capabilities.add
	not is_default(capability)
	result := {
		"msg": sprintf("container %q adds capability %v, which is not among the default ones", [c.name, capability]),
		"path": sprintf("%s.securityContext.capabilities.add[%d]", [c.path, i]),
	}
}

is_default(capability) if capability in default_capabilities
