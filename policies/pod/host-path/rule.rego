# METADATA
# title: Pods do not mount the node's files
# description: >-
#   A hostPath volume reaches the node's files: other pods' volumes, the
#   kubelet's credentials, and a way to run as root on the node.
# scope: package
# custom:
#   id: pod/host-path
#   code: POD-003
#   severity: critical
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(1)
#         why: Files on the node belong to pods that were granted patient data which this one was not.
#     pss: [baseline]
#     cis_k8s: {version: "1.12", ids: ["5.2.12"]}
#     nist_800_53r5: [AC-6]
#   remediation: Use a PersistentVolumeClaim, emptyDir, configMap, secret, projected or CSI volume.
package pod.host_path

import data.lib.pods

deny contains result if {
	some v in pods.volumes
	v.volume.hostPath != null
	result := {
		"msg": sprintf("volume %q is a path on the node", [v.name]),
		"path": concat("", [v.path, ".hostPath"]),
	}
}
