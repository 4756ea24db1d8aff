# METADATA
# title: System calls are filtered
# description: >-
#   Most ways out of a container are system calls that services never make. The
#   runtime's default filter takes them away.
# scope: package
# custom:
#   id: pod/seccomp
#   code: POD-010
#   severity: medium
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.308(a)(1)(ii)(B)
#         why: The filter reduces a risk to every container on the node, known weaknesses of the kernel included.
#     pss: [restricted]
#     cis_k8s: {version: "1.12", ids: ["5.7.2"]}
#   remediation: Set securityContext.seccompProfile.type to RuntimeDefault or Localhost for the pod or each container.
package pod.seccomp

import data.lib.objects
import data.lib.pods

accepted := {"RuntimeDefault", "Localhost"}

deny contains result if {
	some pod in pods.specs
	pod.os != "windows"
	set_badly(pod.spec)
	result := {
		"msg": "the pod's seccomp profile is neither RuntimeDefault nor Localhost",
		"path": concat("", [pod.path, ".securityContext.seccompProfile.type"]),
	}
}

deny contains result if {
	some c in pods.containers
	c.pod.os != "windows"
	set_badly(c.container)
	result := {
		"msg": sprintf("container %q has a seccomp profile that is neither RuntimeDefault nor Localhost", [c.name]),
		"path": concat("", [c.path, ".securityContext.seccompProfile.type"]),
	}
}

deny contains result if {
	some c in pods.containers
	c.pod.os != "windows"
	object.get(c.container, ["securityContext", "seccompProfile"], null) == null
	pod := c.pod.spec
	not set_well(pod)
	result := {
		"msg": sprintf("neither container %q nor its pod has a seccomp profile", [c.name]),
		"path": concat("", [c.path, ".securityContext.seccompProfile.type"]),
	}
}

set_well(holder) if holder.securityContext.seccompProfile.type in accepted

set_badly(holder) if {
	objects.is_set(holder, ["securityContext", "seccompProfile"])
	not set_well(holder)
}
