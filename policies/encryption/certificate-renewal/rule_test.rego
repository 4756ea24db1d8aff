package encryption.certificate_renewal_test

import data.encryption.certificate_renewal

paths(spec) := found if {
	found := {f.path | some f in certificate_renewal.deny} with data.params.certificate_renewal as "168h" with input.objects as [{
		"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "c", "namespace": "a"}, "spec": spec,
	}]
}

test_renewal if {
	every spec in [
		{}, {"duration": "2160h"}, {"renewBefore": "168h"}, {"renewBefore": "360h0m0s"}, {"renewBeforePercentage": 25},
		{"duration": "72h", "renewBefore": "24h"}, {"renewBefore": "soon"},
	] {
		paths(spec) == set()
	}
	every spec in [{"renewBefore": "1h"}, {"renewBefore": "2160h"}, {"duration": "240h", "renewBefore": "300h"}, {"duration": "72h", "renewBefore": "1h"}] {
		paths(spec) == {"spec.renewBefore"}
	}
	paths({"renewBeforePercentage": 2}) == {"spec.renewBeforePercentage"}
}

fetched(spec) if {
	count(certificate_renewal.deny) == 0 with input.objects as [{
		"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": "c", "namespace": "a"},
		"spec": object.union({"target": {"template": {"type": "kubernetes.io/tls"}}}, spec),
	}]
}

test_fetched_again_and_again if {
	fetched({})
	fetched({"refreshInterval": "1h"})
	not fetched({"refreshInterval": "0"})
	not fetched({"refreshInterval": "0s"})
	not fetched({"refreshPolicy": "CreatedOnce"})
}
