# METADATA
# title: AppArmor confines containers
# description: >-
#   On nodes with AppArmor, the runtime's profile denies mounts and writes to
#   the kernel's files. Unconfined takes it away.
# scope: package
# custom:
#   id: pod/apparmor
#   code: POD-008
#   severity: high
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(1)
#         why: The profile keeps a container that was broken into from reaching what others hold.
#     pss: [baseline]
#     cis_k8s: {version: "1.12", ids: ["5.7.3"]}
#     nist_800_53r5: [AC-6]
#   remediation: >-
#     Remove securityContext.appArmorProfile and the annotations of AppArmor,
#     or choose RuntimeDefault or Localhost.
package pod.apparmor

import data.lib.pods

prefix := "container.apparmor.security.beta.kubernetes.io/"

deny contains result if {
	some holder in pods.holders
	profile := holder.security.appArmorProfile
	profile != null
	not is_confining(profile)
	result := {
		"msg": sprintf("%s has an AppArmor profile that is neither RuntimeDefault nor Localhost", [pods.label(holder)]),
		"path": concat("", [holder.path, ".securityContext.appArmorProfile.type"]),
	}
}

deny contains result if {
	some pod in pods.specs
	some key, value in pods.annotations(pod)
	startswith(key, prefix)
	profile := pods.text(value)
	not is_confining_annotation(profile)
	result := {
		"msg": sprintf("annotation %s is %v; want runtime/default or localhost/…", [key, profile]),
		"path": pods.annotation_path(pod, key),
	}
}

is_confining(profile) if profile.type in {"RuntimeDefault", "Localhost"}

is_confining_annotation(value) if value in {"runtime/default", ""}

is_confining_annotation(value) if startswith(value, "localhost/")
