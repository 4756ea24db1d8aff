# METADATA
# title: Services speak mutual TLS with each other
# description: >-
#   Inside the cluster, too, connections cross nodes and zones. A mesh encrypts
#   them, and each side proves who it is, where it takes no others: Linkerd with
#   an authenticated inbound policy, Istio with mode STRICT.
# scope: package
# custom:
#   id: encryption/mutual-tls
#   code: ENC-004
#   severity: high
#   data: [anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(e)(2)(ii)
#         why: Patient data is encrypted between services as well.
#       - cite: 164.312(e)(2)(i)
#         why: Nobody between two services can change what they say.
#   remediation: >-
#     Linkerd: annotate pods or their namespace with linkerd.io/inject: enabled
#     and config.linkerd.io/default-inbound-policy: all-authenticated. Istio:
#     add a PeerAuthentication with mtls.mode STRICT to the namespace, and label
#     pods or their Namespace so that they get a sidecar. A mesh that is set up
#     outside the release is told in params.strict_mesh.
package encryption.mutual_tls

import data.lib.objects
import data.lib.pods
import data.lib.release
import data.lib.workloads

# Without real patient data it is only said.
deny contains result if {
	input.environment.data == "phi"
	some result in bare
}

warn contains result if {
	input.environment.data == "anonymized"
	some result in bare
}

bare contains result if {
	some workload in workloads.running
	namespace := workload.namespace
	not outside(namespace)
	not linkerd(workload)
	not istio(workload)
	result := {
		"msg": sprintf("it takes connections without mutual TLS%s", [hint(workload)]),
		"object": objects.ref(workload.object),
		"path": concat("", [pods.metadata_path(workload.pod), ".annotations"]),
	}
}

deny contains result if {
	some o in release.of_kind("DestinationRule.networking.istio.io")
	some place in client_modes(o)
	place.mode == "DISABLE"
	result := {
		"msg": sprintf("connections to %s go out unencrypted", [object.get(o, ["spec", "host"], "it")]),
		"object": objects.ref(o),
		"path": place.path,
	}
}

deny contains result if {
	some o in release.of_kind("PeerAuthentication.security.istio.io")
	some place in server_modes(o)
	place.mode in {"DISABLE", "PERMISSIVE"}
	result := {
		"msg": sprintf("mode %s takes connections that are not encrypted", [place.mode]),
		"object": objects.ref(o),
		"path": place.path,
	}
}

outside(namespace) if {
	some pattern in data.params.strict_mesh.namespaces
	glob.match(pattern, [], namespace)
}

# What a pod does not say, its namespace does, if that is in the release, and
# then the mesh's own configuration.
linkerd(workload) if {
	says(workload, "linkerd.io/inject") in {"enabled", "ingress"}
	inbound(workload) in {"all-authenticated", "cluster-authenticated", "deny"}
	says(workload, "config.linkerd.io/skip-inbound-ports") == ""
}

# A Server of Linkerd's says something else for its ports than the pods do.
deny contains result if {
	some o in release.of_kind("Server.policy.linkerd.io")
	policy := o.spec.accessPolicy
	policy in {"all-unauthenticated", "cluster-unauthenticated", "audit"}
	result := {
		"msg": sprintf("accessPolicy %s takes connections without mutual TLS", [policy]),
		"object": objects.ref(o),
		"path": "spec.accessPolicy",
	}
}

deny contains result if {
	some o in release.of_kind("ServerAuthorization.policy.linkerd.io")
	o.spec.client.unauthenticated == true
	result := {
		"msg": "clients without mutual TLS are let in",
		"object": objects.ref(o),
		"path": "spec.client.unauthenticated",
	}
}

# What targets a route lets probes in; what targets a Server, everything.
deny contains result if {
	some o in release.of_kind("AuthorizationPolicy.policy.linkerd.io")
	o.spec.targetRef.kind in {"Server", "Namespace"}
	asked := {reference.kind | some reference in o.spec.requiredAuthenticationRefs}
	count(asked & {"MeshTLSAuthentication", "ServiceAccount"}) == 0
	result := {
		"msg": "clients without mutual TLS are let in: want a MeshTLSAuthentication or a ServiceAccount, too",
		"object": objects.ref(o),
		"path": "spec.requiredAuthenticationRefs",
	}
}

says(workload, name) := value if {
	value := object.get(workload.annotations, name, "")
	value != ""
} else := value if {
	some o in release.of_kind("Namespace")
	o.metadata.name == workload.namespace
	value := release.annotation(o, name)
	value != ""
} else := ""

inbound(workload) := value if {
	value := says(workload, "config.linkerd.io/default-inbound-policy")
	value != ""
} else := data.params.strict_mesh.linkerd_default_inbound_policy

# PeerAuthentications that loosen it are findings of their own.
istio(workload) if {
	some o in release.of_kind("PeerAuthentication.security.istio.io")
	objects.namespace_of(o) == workload.namespace
	o.spec.mtls.mode == "STRICT"
	workloads.selects(workloads.entries(o.spec, "selector"), workload.labels)
	asked_for(workload)
	not left_out(workload)
}

# Without a sidecar a policy is nothing to a pod: it goes on to answer plainly.
asked_for(workload) if marks(workload, "sidecar.istio.io/inject") & {"true"} != set()

asked_for(workload) if marks(workload, "istio.io/rev") - {""} != set()

asked_for(workload) if namespace_label(workload.namespace, "istio-injection") == "enabled"

asked_for(workload) if namespace_label(workload.namespace, "istio.io/rev") != ""

asked_for(workload) if ambient(workload)

asked_for(workload) if {
	some pattern in data.params.strict_mesh.istio_namespaces
	glob.match(pattern, [], workload.namespace)
}

left_out(workload) if "false" in marks(workload, "sidecar.istio.io/inject")

left_out(workload) if {
	not ambient(workload)
	namespace_label(workload.namespace, "istio-injection") == "disabled"
}

left_out(workload) if workload.pod.spec.hostNetwork == true

# Ports that its sidecar is kept from are answered plainly.
left_out(workload) if {
	not ambient(workload)
	workload.annotations["traffic.sidecar.istio.io/excludeInboundPorts"] != ""
}

left_out(workload) if {
	not ambient(workload)
	workload.annotations["traffic.sidecar.istio.io/includeInboundPorts"] != "*"
}

# In ambient mode the node's proxy does it, for all pods but those that say not.
ambient(workload) if {
	mode := object.get(workload.labels, "istio.io/dataplane-mode", namespace_label(workload.namespace, "istio.io/dataplane-mode"))
	mode == "ambient"
}

marks(workload, name) := {lower(value) |
	some texts in [workload.labels, workload.annotations]
	value := texts[name]
}

namespace_label(namespace, name) := value if {
	value := namespace_labels[namespace][name]
	is_string(value)
} else := ""

namespace_labels[o.metadata.name] := labels if {
	some o in release.of_kind("Namespace")
	labels := o.metadata.labels
}

hint(workload) := ": its proxy leaves ports out" if {
	skipping := [
		says(workload, "config.linkerd.io/skip-inbound-ports"),
		object.get(workload.annotations, "traffic.sidecar.istio.io/excludeInboundPorts", ""),
	]
	concat("", skipping) != ""
} else := ": it is in the mesh, and takes unauthenticated ones, too" if {
	says(workload, "linkerd.io/inject") in {"enabled", "ingress"}
} else := ": it is kept out of the mesh" if {
	says(workload, "linkerd.io/inject") == "disabled"
} else := ": a PeerAuthentication asks for it, and nothing asks for its sidecar" if {
	some o in release.of_kind("PeerAuthentication.security.istio.io")
	objects.namespace_of(o) == workload.namespace
} else := ": it is in no mesh"

client_modes(o) := {{"mode": mode, "path": concat(".", ["spec", path])} |
	some base in policies(o)
	mode := base.policy.tls.mode
	path := concat("", [base.path, ".tls.mode"])
} | {{"mode": port.tls.mode, "path": sprintf("spec.%s.portLevelSettings[%d].tls.mode", [base.path, i])} |
	some base in policies(o)
	some i, port in base.policy.portLevelSettings
}

policies(o) := {{"policy": policy, "path": "trafficPolicy"} |
	policy := o.spec.trafficPolicy
} | {{"policy": subset.trafficPolicy, "path": sprintf("subsets[%d].trafficPolicy", [i])} |
	some i, subset in o.spec.subsets
}

server_modes(o) := {{"mode": mode, "path": "spec.mtls.mode"} |
	mode := o.spec.mtls.mode
} | {{"mode": port.mode, "path": sprintf("spec.portLevelMtls[%q].mode", [number])} |
	some number, port in o.spec.portLevelMtls
}
