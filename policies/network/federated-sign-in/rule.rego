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
	some o in release.of_kind("Ingress.networking.k8s.io")
	some name, values in data.params.shared_password_annotations
	value := release.annotation(o, name)
	value != ""
	listed(value, values)
	result := {
		"msg": "people sign in with a password that the Ingress keeps a list of",
		"object": objects.ref(o),
		"path": sprintf("metadata.annotations[%q]", [name]),
	}
}

deny contains result if {
	some setting in settings.all
	regex.match(data.params.identity_settings, lower(setting.name))
	host := settings.plain_host(setting.value)
	not settings.inside(host)
	result := {
		"msg": sprintf("%s asks %q over plain HTTP", [setting.name, host]),
		"object": setting.object,
		"path": setting.path,
	}
}

deny contains result if {
	some o in release.of_kind("RequestAuthentication.security.istio.io")
	some i, rule in o.spec.jwtRules
	some field in ["issuer", "jwksUri"]
	host := settings.plain_host(object.get(rule, field, ""))
	not settings.inside(host)
	result := {
		"msg": sprintf("%s %q is asked over plain HTTP", [field, host]),
		"object": objects.ref(o),
		"path": sprintf("spec.jwtRules[%d].%s", [i, field]),
	}
}

listed(_, []) := true

listed(value, values) if lower(value) in values
