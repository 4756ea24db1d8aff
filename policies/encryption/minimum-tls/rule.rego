# METADATA
# title: Entries speak no TLS older than they must
# description: >-
#   Old versions of TLS have known weaknesses, and a server that offers one can
#   be talked down to it. params.minimum_tls is the oldest version that may be
#   offered; what an entry does not say is up to its controller's defaults.
# scope: package
# custom:
#   id: encryption/minimum-tls
#   code: ENC-003
#   severity: medium
#   data: [phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(e)(2)(ii)
#         why: Patient data in transit is encrypted by a version without known weaknesses.
#   remediation: >-
#     Say the version where the entry's controller reads it
#     (params.tls_settings), such as ssl-min-ver TLSv1.3. Where the controller
#     holds it for all entries, say so in the annotation
#     chaperone.dev/minimum-tls: "1.3".
package encryption.minimum_tls

import data.lib.entries
import data.lib.objects
import data.lib.release

deny contains result if {
	some o in release.of_kind("Ingress.networking.k8s.io")
	objects.size_of(o, ["spec", "tls"]) > 0
	settings := entries.read_by(o)
	not enough(settings)
	result := {
		"msg": sprintf("nothing says that it offers TLS %s and no older version", [data.params.minimum_tls]),
		"object": objects.ref(o),
		"path": "metadata.annotations",
	}
}

deny contains result if {
	some kind in entries.listener_kinds
	some o in release.of_kind(kind)
	some i, listener in o.spec.listeners
	listener.protocol in {"HTTPS", "TLS"}
	object.get(listener, ["tls", "mode"], "Terminate") == "Terminate"
	settings := object.union(
		mapping(object.get(o, ["metadata", "annotations"], {})),
		mapping(object.get(listener, ["tls", "options"], {})),
	)
	not enough(settings)
	not by_policy(o)
	result := {
		"msg": sprintf("nothing says that listener %q offers TLS %s and no older version", [object.get(listener, "name", ""), data.params.minimum_tls]),
		"object": objects.ref(o),
		"path": sprintf("spec.listeners[%d].tls.options", [i]),
	}
}

deny contains result if {
	some o in release.of_kind("Gateway.networking.istio.io")
	some i, server in o.spec.servers
	server.tls.mode in {"SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"}
	version := object.get(server.tls, "minProtocolVersion", "TLS_AUTO")
	not new(trim_prefix(replace(version, "V1_", "1."), "TLS"))
	result := {
		"msg": sprintf("it offers %s and newer; want no older version than %s", [version, data.params.minimum_tls]),
		"object": objects.ref(o),
		"path": sprintf("spec.servers[%d].tls.minProtocolVersion", [i]),
	}
}

# One setting that is known to offer less counts, whatever another says.
enough(settings) if {
	versions := {version |
		some name, patterns in data.params.tls_settings
		some version, pattern in patterns
		regex.match(pattern, object.get(settings, name, ""))
	}
	count(versions) > 0
	every version in versions {
		new(version)
	}
}

new(version) if order[version] >= order[data.params.minimum_tls]

order := {"1.0": 0, "1.1": 1, "1.2": 2, "1.3": 3}

# Envoy Gateway has it in a policy for the Gateway.
by_policy(gateway) if {
	some o in release.of_kind("ClientTrafficPolicy.gateway.envoyproxy.io")
	new(o.spec.tls.minVersion)
	objects.namespace_of(o) == objects.namespace_of(gateway)
	some target in array.concat([target | some target in o.spec.targetRefs], [target | target := o.spec.targetRef])
	target.name == gateway.metadata.name
}

mapping(value) := {name: text | some name, text in value; is_string(text)}
