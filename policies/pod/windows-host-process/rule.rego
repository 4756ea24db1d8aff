# METADATA
# title: Containers are not Windows HostProcess containers
# description: >-
#   A HostProcess container is a process of the Windows node itself, with the
#   node's files, network and accounts.
# scope: package
# custom:
#   id: pod/windows-host-process
#   code: POD-001
#   severity: critical
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(1)
#         why: Access to patient data is decided by grants, which a process of the node itself goes around.
#     pss: [baseline]
#     cis_k8s: {version: "1.12", ids: ["5.2.11"]}
#     nist_800_53r5: [AC-6]
#   remediation: >-
#     Remove securityContext.windowsOptions.hostProcess from the pod and its
#     containers; what must run on the node itself belongs to whoever runs the
#     node.
package pod.windows_host_process

import data.lib.pods

deny contains result if {
	some holder in pods.holders
	holder.security.windowsOptions.hostProcess == true
	result := {
		"msg": sprintf("%s is a Windows HostProcess; want hostProcess false or left out", [pods.label(holder)]),
		"path": concat("", [holder.path, ".securityContext.windowsOptions.hostProcess"]),
	}
}
