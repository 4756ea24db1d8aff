# METADATA
# title: SELinux confines containers as containers
# description: >-
#   On nodes with SELinux, its label keeps a container to its own files.
#   Another type, user or role can take that away.
# scope: package
# custom:
#   id: pod/selinux
#   code: POD-008
#   severity: high
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(1)
#         why: The label is what stops a container that broke out from reading the files of others.
#     pss: [baseline]
#     cis_k8s: {version: "1.12", ids: ["5.7.3"]}
#     nist_800_53r5: [AC-6]
#   remediation: >-
#     Remove user and role from securityContext.seLinuxOptions; leave type out,
#     or take container_t, container_init_t, container_kvm_t or
#     container_engine_t. level may be set.
package pod.selinux

import data.lib.pods

# Types for containers, each with the version of the standards that it came with.
container_types := {
	"": 0,
	"container_t": 0,
	"container_init_t": 0,
	"container_kvm_t": 0,
	"container_engine_t": 31,
}

deny contains result if {
	some holder in pods.holders
	type := holder.security.seLinuxOptions.type
	type != null
	not is_container_type(type)
	result := {
		"msg": sprintf("%s has SELinux type %v, which is not one of a container", [pods.label(holder), type]),
		"path": concat("", [holder.path, ".securityContext.seLinuxOptions.type"]),
	}
}

deny contains result if {
	some holder in pods.holders
	some field in ["user", "role"]
	value := holder.security.seLinuxOptions[field]
	not value in {"", null}
	result := {
		"msg": sprintf("%s sets SELinux %s %v; want none", [pods.label(holder), field, value]),
		"path": sprintf("%s.securityContext.seLinuxOptions.%s", [holder.path, field]),
	}
}

is_container_type(type) if container_types[type] <= pods.minor
