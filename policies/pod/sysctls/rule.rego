# METADATA
# title: Pods set safe sysctls only
# description: >-
#   A sysctl that is not known to be safe is the whole node's: setting it in
#   one pod changes the kernel for every other.
# scope: package
# custom:
#   id: pod/sysctls
#   code: POD-007
#   severity: medium
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(1)
#         why: A pod does not decide how the kernel guards the pods beside it, which hold what it was not granted.
#     pss: [baseline]
#     cis_k8s: {version: "1.12", ids: ["5.7.3"]}
#     nist_800_53r5: [AC-6]
#   remediation: >-
#     Remove the sysctl from securityContext.sysctls; what the node needs is
#     set where nodes are set up.
package pod.sysctls

import data.lib.pods

# Safe sysctls, each with the version of the standards that it came with.
safe := {
	"kernel.shm_rmid_forced": 0,
	"net.ipv4.ip_local_port_range": 0,
	"net.ipv4.ip_unprivileged_port_start": 0,
	"net.ipv4.ping_group_range": 0,
	"net.ipv4.tcp_syncookies": 0,
	"net.ipv4.ip_local_reserved_ports": 27,
	"net.ipv4.tcp_fin_timeout": 29,
	"net.ipv4.tcp_keepalive_intvl": 29,
	"net.ipv4.tcp_keepalive_probes": 29,
	"net.ipv4.tcp_keepalive_time": 29,
	"net.ipv4.tcp_rmem": 32,
	"net.ipv4.tcp_wmem": 32,
	"net.ipv4.tcp_notsent_lowat": 37,
	"net.ipv4.tcp_slow_start_after_idle": 37,
}

deny contains result if {
	some pod in pods.specs
	some i, sysctl in pod.security.sysctls
	not is_safe(sysctl)
	result := {
		"msg": sprintf("sysctl %v is not safe", [name_of(sysctl)]),
		"path": sprintf("%s.securityContext.sysctls[%d].name", [pod.path, i]),
	}
}

is_safe(sysctl) if safe[sysctl.name] <= pods.minor

name_of(sysctl) := sysctl.name if {
	sysctl.name
} else := "without a name"
