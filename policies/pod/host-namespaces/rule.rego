# METADATA
# title: Pods do not share the node's namespaces
# description: >-
#   With the node's network, processes or IPC a pod sees the traffic and the
#   processes of every other pod there, and network policies do not bind it.
# scope: package
# custom:
#   id: pod/host-namespaces
#   code: POD-002
#   severity: critical
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(1)
#         why: A pod in the node's namespaces reads what other pods hold without being granted it.
#     pss: [baseline]
#     cis_k8s: {version: "1.12", ids: ["5.2.3", "5.2.4", "5.2.5"]}
#     nist_800_53r5: [SC-7]
#   remediation: Remove hostNetwork, hostPID and hostIPC from the pod spec.
package pod.host_namespaces

import data.lib.pods

deny contains result if {
	some pod in pods.specs
	some field in ["hostNetwork", "hostPID", "hostIPC"]
	pod.spec[field] == true
	result := {
		"msg": sprintf("%s is true", [field]),
		"path": concat(".", [pod.path, field]),
	}
}
