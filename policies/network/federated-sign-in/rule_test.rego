package network.federated_sign_in_test

import data.network.federated_sign_in

findings(o) := found if {
	found := {f.path | some f in federated_sign_in.deny} with input.object as o
}

ingress(annotations) := {
	"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
	"metadata": {"name": "public", "namespace": "a", "annotations": annotations}, "spec": {},
}

test_basic_authentication if {
	findings(ingress({"nginx.ingress.kubernetes.io/auth-type": "basic"})) == {`metadata.annotations["nginx.ingress.kubernetes.io/auth-type"]`}
	findings(ingress({"alb.ingress.kubernetes.io/auth-type": "oidc"})) == set()
}

config(texts) := {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "a"}, "data": texts}

test_plain_http if {
	findings(config({"OIDC_ISSUER_URL": "http://id.example.org/realms/a"})) == {`data["OIDC_ISSUER_URL"]`}
	every texts in [
		{"OIDC_ISSUER_URL": "https://id.example.org"}, {"oidc_issuer_url": "http://dex.auth.svc:5556/dex"},
		{"JWKS_URI": "http://keycloak:8080/certs"}, {"CALLBACK": "http://example.org"}, {"OIDC_ISSUER_URL": ""},
	] {
		findings(config(texts)) == set()
	}
}
