# METADATA
# title: Containers drop all capabilities
# description: >-
#   The default capabilities are more than a service needs. All are dropped, and
#   at most NET_BIND_SERVICE is added.
# scope: package
# custom:
#   id: pod/capabilities
#   code: POD-012
#   severity: medium
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(1)
#         why: Capabilities are privileges; none beyond what the service does protects what others hold.
#     pss: [restricted]
#     cis_k8s: {version: "1.12", ids: ["5.2.9", "5.2.10"]}
#     nist_800_53r5: [AC-6]
#   remediation: "Set securityContext.capabilities to {drop: [ALL]} for every container, adding at most NET_BIND_SERVICE."
package pod.capabilities

import data.lib.pods

deny contains result if {
	some c in pods.containers
	not drops_all(c)
	not pods.on_windows(c)
	pods.minor >= 22
	result := {
		"msg": sprintf("container %q does not drop ALL capabilities", [c.name]),
		"path": concat("", [c.path, ".securityContext.capabilities.drop"]),
	}
}

deny contains result if {
	some c in pods.containers
	some i, capability in c.security.capabilities.add
	capability != "NET_BIND_SERVICE"
	not pods.on_windows(c)
	pods.minor >= 22
	result := {
		"msg": sprintf("container %q adds capability %v", [c.name, capability]),
		"path": sprintf("%s.securityContext.capabilities.add[%d]", [c.path, i]),
	}
}

drops_all(c) if "ALL" in c.security.capabilities.drop
