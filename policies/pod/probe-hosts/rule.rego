# METADATA
# title: Probes and lifecycle hooks ask only their own container
# description: >-
#   With a host of its own in a probe or hook, a pod makes the node's kubelet
#   send requests wherever it likes, past the network policies.
# scope: package
# custom:
#   id: pod/probe-hosts
#   code: POD-015
#   severity: medium
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(e)(1)
#         why: Nothing sends requests around where transmission is guarded.
#     pss: [baseline]
#     cis_k8s: {version: "1.12", ids: ["5.7.3"]}
#     nist_800_53r5: [SC-7]
#   remediation: >-
#     Remove host from httpGet and tcpSocket; they then ask the pod itself. A
#     host name for HTTP goes into httpHeaders.
package pod.probe_hosts

import data.lib.pods

deny contains result if {
	some c in pods.containers
	some probe in ["livenessProbe", "readinessProbe", "startupProbe"]
	some action in ["httpGet", "tcpSocket"]
	host := c.container[probe][action].host
	not host in {"", null}
	pods.minor >= 34
	result := finding(c, [probe, action], host)
}

deny contains result if {
	some c in pods.containers
	lifecycle := c.container.lifecycle
	some hook in ["postStart", "preStop"]
	some action in ["httpGet", "tcpSocket"]
	host := lifecycle[hook][action].host
	not host in {"", null}
	pods.minor >= 34
	result := finding(c, ["lifecycle", hook, action], host)
}

finding(c, fields, host) := {
	"msg": sprintf("container %q has its node ask host %v; want none, which is the pod itself", [c.name, host]),
	"path": sprintf("%s.%s.host", [c.path, concat(".", fields)]),
}
