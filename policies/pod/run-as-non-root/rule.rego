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
#     Set securityContext.runAsNonRoot to true for the pod or each container, and
#     runAsUser, where it is set, to another user than 0.
package pod.run_as_non_root

import data.lib.pods

deny contains result if {
	some pod in pods.specs
	pod.host_users != false
	pod.spec.securityContext.runAsNonRoot == false
	result := {
		"msg": "the pod sets runAsNonRoot to false",
		"path": concat("", [pod.path, ".securityContext.runAsNonRoot"]),
	}
}

deny contains result if {
	some c in pods.containers
	c.pod.host_users != false
	c.container.securityContext.runAsNonRoot == false
	result := {
		"msg": sprintf("container %q sets runAsNonRoot to false", [c.name]),
		"path": concat("", [c.path, ".securityContext.runAsNonRoot"]),
	}
}

deny contains result if {
	some c in pods.containers
	c.pod.host_users != false
	object.get(c.container, ["securityContext", "runAsNonRoot"], null) == null
	not c.pod.spec.securityContext.runAsNonRoot == true
	result := {
		"msg": sprintf("neither container %q nor its pod sets runAsNonRoot to true", [c.name]),
		"path": concat("", [c.path, ".securityContext.runAsNonRoot"]),
	}
}

deny contains result if {
	some pod in pods.specs
	pod.host_users != false
	pod.spec.securityContext.runAsUser == 0
	result := {
		"msg": "the pod sets runAsUser to 0, which is root",
		"path": concat("", [pod.path, ".securityContext.runAsUser"]),
	}
}

deny contains result if {
	some c in pods.containers
	c.pod.host_users != false
	c.container.securityContext.runAsUser == 0
	result := {
		"msg": sprintf("container %q sets runAsUser to 0, which is root", [c.name]),
		"path": concat("", [c.path, ".securityContext.runAsUser"]),
	}
}
