# METADATA
# title: Containers do not take ports of the node
# description: >-
#   A hostPort is open on the node's own address, past Services, the Ingress
#   and its TLS, and on many network plug-ins past the network policies.
# scope: package
# custom:
#   id: pod/host-ports
#   code: POD-004
#   severity: high
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(e)(1)
#         why: What reaches a container has come through where transmission is guarded.
#     pss: [baseline]
#     cis_k8s: {version: "1.12", ids: ["5.2.13"]}
#     nist_800_53r5: [SC-7]
#   remediation: >-
#     Remove hostPort; give the container a Service, and an Ingress where it is
#     reached from outside.
package pod.host_ports

import data.lib.pods

deny contains result if {
	some c in pods.containers
	some i, port in c.container.ports
	host_port := port.hostPort
	not host_port in {0, null}
	result := {
		"msg": sprintf("container %q takes port %v of the node; want a Service instead", [c.name, host_port]),
		"path": sprintf("%s.ports[%d].hostPort", [c.path, i]),
	}
}
