# METADATA
# title: Containers do not change their own files
# description: >-
#   What breaks into a service and can write to its root filesystem can replace
#   its programs and stay. An image that cannot be written to runs what was
#   released, and nothing else.
# scope: package
# custom:
#   id: pod/read-only-root-filesystem
#   code: POD-013
#   severity: medium
#   data: [anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(c)(1)
#         why: The programs that handle patient data stay those that were reviewed and released.
#     cis_k8s: {version: "1.12", ids: ["5.7.3"]}
#     nist_800_53r5: [SI-7]
#   remediation: >-
#     Set securityContext.readOnlyRootFilesystem to true for every container,
#     and mount an emptyDir where it must write, such as /tmp.
package pod.read_only_root_filesystem

import data.lib.pods

deny contains result if {
	some c in pods.containers
	not c.security.readOnlyRootFilesystem == true
	not c.spec.os.name == "windows"
	result := {
		"msg": sprintf("container %q can write to its root filesystem; want readOnlyRootFilesystem true", [c.name]),
		"path": concat("", [c.path, ".securityContext.readOnlyRootFilesystem"]),
	}
}
