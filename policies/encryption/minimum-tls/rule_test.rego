package encryption.minimum_tls_test

import data.encryption.minimum_tls

denied(annotations) if {
	count(minimum_tls.deny) == 1 with input.objects as [{
		"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
		"metadata": {"name": "public", "namespace": "a", "annotations": annotations},
		"spec": {"tls": [{"hosts": ["a.example.org"]}]},
	}]
}

test_settings_of_controllers if {
	every annotations in [
		{"haproxy-ingress.github.io/ssl-options-host": "no-sslv3 ssl-min-ver TLSv1.3"},
		{"alb.ingress.kubernetes.io/ssl-policy": "ELBSecurityPolicy-TLS13-1-3-2021-06"},
		{"chaperone.dev/minimum-tls": "1.3"},
	] {
		not denied(annotations)
	}
	every annotations in [
		{}, {"haproxy-ingress.github.io/ssl-options-host": "ssl-min-ver TLSv1.2"},
		{"alb.ingress.kubernetes.io/ssl-policy": "ELBSecurityPolicy-TLS13-1-2-2021-06"}, {"chaperone.dev/minimum-tls": "yes"},
		{"chaperone.dev/minimum-tls": "1.3", "haproxy-ingress.github.io/ssl-options-host": "ssl-min-ver TLSv1.2"},
	] {
		denied(annotations)
	}
}

test_an_older_version_can_be_allowed if {
	not denied({"haproxy-ingress.github.io/ssl-options-host": "ssl-min-ver TLSv1.2"}) with data.params.minimum_tls as "1.2"
}

istio(tls) := found if {
	found := {f.path | some f in minimum_tls.deny} with input.objects as [{
		"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "g", "namespace": "a"},
		"spec": {"servers": [{"tls": tls}]},
	}]
}

test_istio if {
	istio({"mode": "SIMPLE", "minProtocolVersion": "TLSV1_3"}) == set()
	istio({"mode": "PASSTHROUGH"}) == set()
	istio({"httpsRedirect": true}) == set()
	istio({"mode": "SIMPLE"}) == {"spec.servers[0].tls.minProtocolVersion"}
	istio({"mode": "MUTUAL", "minProtocolVersion": "TLSV1_2"}) == {"spec.servers[0].tls.minProtocolVersion"}
}
