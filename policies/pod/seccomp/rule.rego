# METADATA
# title: System calls are filtered
# description: >-
#   Most ways out of a container are system calls that services never make. The
#   runtime's default filter takes them away. Where there is no data of people, a
#   pod may leave it to the runtime whether it filters, but not ask for none.
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
#       - cite: 164.312(a)(1)
#         why: The filter closes the ways through the kernel to what other containers on the node hold.
#     pss: [baseline, restricted]
#     cis_k8s: {version: "1.12", ids: ["5.7.2"]}
#   remediation: Set securityContext.seccompProfile.type to RuntimeDefault or Localhost for the pod or each container.
package pod.seccomp

import data.lib.pods

accepted := {"RuntimeDefault", "Localhost"}

deny contains result if {
	some holder in pods.holders
	profile := holder.security.seccompProfile
	profile != null
	not filters(profile)
	pods.minor >= 19
	asked(holder)
	result := {
		"msg": sprintf("%s has a seccomp profile that is neither RuntimeDefault nor Localhost", [pods.label(holder)]),
		"path": concat("", [holder.path, ".securityContext.seccompProfile.type"]),
	}
}

deny contains result if {
	some c in pods.containers
	security := c.pod.security
	not is_filtered(security)
	object.get(c.container, ["securityContext", "seccompProfile"], null) == null
	not pods.on_windows(c)
	pods.minor >= 19
	pods.restricted
	result := {
		"msg": sprintf("neither container %q nor its pod has a seccomp profile", [c.name]),
		"path": concat("", [c.path, ".securityContext.seccompProfile.type"]),
	}
}

# Before 1.19 annotations said it.
deny contains result if {
	pods.minor < 19
	some pod in pods.specs
	some key, value in pods.annotations(pod)
	key in annotation_keys(pod)
	profile := pods.text(value)
	not filters_annotation(profile)
	result := {
		"msg": sprintf("annotation %s is %v; want runtime/default or localhost/…", [key, profile]),
		"path": pods.annotation_path(pod, key),
	}
}

asked(holder) if not pods.on_windows(holder)

asked(_) if not pods.restricted

filters(profile) if profile.type in accepted

is_filtered(security) if security.seccompProfile.type in accepted

filters_annotation(value) if value in {"runtime/default", "docker/default"}

filters_annotation(value) if startswith(value, "localhost/")

annotation_keys(pod) := {"seccomp.security.alpha.kubernetes.io/pod"} | {key |
	some c in pods.containers
	c.pod.path == pod.path
	key := concat("", ["container.seccomp.security.alpha.kubernetes.io/", pods.text(c.name)])
}
