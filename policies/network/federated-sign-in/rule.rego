# METADATA
# title: People sign in by OpenID Connect, over TLS
# description: >-
#   A password that an Ingress compares with a list knows no second factor, and
#   nobody takes it back when its owner leaves. An identity provider asked over
#   plain HTTP can be anyone.
# scope: package
# custom:
#   id: network/federated-sign-in
#   code: NET-007
#   severity: medium
#   data: [anonymized, phi]
#   kinds: [workloads, ConfigMap, Ingress.networking.k8s.io, RequestAuthentication.security.istio.io]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.312(d)
#         why: Who signs in is known to the identity provider, and the provider to the service.
#   remediation: >-
#     Replace basic authentication by OpenID Connect (an auth-url, an OIDC
#     filter or a proxy), and write addresses of the identity provider with
#     https.
package network.federated_sign_in

import data.lib.objects
import data.lib.release
import data.lib.settings

deny contains result if {
	objects.kind_key(input.object) == "Ingress.networking.k8s.io"
	some name, values in data.params.shared_password_annotations
	value := release.annotation(input.object, name)
	value != ""
	listed(value, values)
	result := {
		"msg": "people sign in with a password that the Ingress keeps a list of",
		"path": sprintf("metadata.annotations[%q]", [name]),
	}
}

deny contains result if {
	some setting in settings.own
	regex.match(data.params.identity_settings, lower(setting.name))
	host := settings.plain_host(setting.value)
	not settings.inside(host)
	result := {
		"msg": sprintf("%s asks %q over plain HTTP", [setting.name, host]),
		"path": settings.path_of(setting),
	}
}

deny contains result if {
	objects.kind_key(input.object) == "RequestAuthentication.security.istio.io"
	some i, rule in input.object.spec.jwtRules
	some field in ["issuer", "jwksUri"]
	host := settings.plain_host(object.get(rule, field, ""))
	not settings.inside(host)
	result := {
		"msg": sprintf("%s %q is asked over plain HTTP", [field, host]),
		"path": sprintf("spec.jwtRules[%d].%s", [i, field]),
	}
}

listed(_, []) := true

listed(value, values) if lower(value) in values
