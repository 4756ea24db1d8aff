package encryption.operator_volumes_test

import data.encryption.operator_volumes

found(api, spec) := {[f.path, f.msg] |
	some f in operator_volumes.deny with input.objects as [{"apiVersion": api, "kind": "Thing", "metadata": {"name": "a"}, "spec": spec}]
		with data.params.encrypted_storage_classes as ["safe"]
}

none := "its volumes have no storage class, which is not known to encrypt"

fast := "its volumes have storage class \"fast\", which is not known to encrypt"

test_where_operators_say_it if {
	found("a.example.org/v1", {"storage": {"storageClass": "fast"}}) == {["spec.storage.storageClass", fast]}
	found("a.example.org/v1", {"sets": [{"volumeClaimTemplates": [{"spec": {}}]}]}) == {["spec.sets[0].volumeClaimTemplates[0].storageClassName", none]}
	found("a.example.org/v1", {"volumeClaimTemplate": {"storageClassName": "fast"}}) == {["spec.volumeClaimTemplate.storageClassName", fast]}
	found("a.example.org/v1", {"storage": {"type": "persistent-claim", "size": "1Gi"}}) == {["spec.storage.class", none]}
	found("a.example.org/v1", {"storage": {"type": "persistent-claim", "class": "fast"}}) == {["spec.storage.class", fast]}
}

test_what_is_known_to_encrypt if {
	every spec in [
		{"storage": {"storageClass": "safe"}}, {"volumeClaimTemplate": {"spec": {"storageClassName": "safe"}}},
		{"storage": {"type": "persistent-claim", "class": "safe"}}, {"backup": {"storageClass": "STANDARD_IA"}}, {"volumeClaimTemplates": null}, {},
	] {
		found("a.example.org/v1", spec) == set()
	}
	found("apps/v1", {"volumeClaimTemplates": [{}]}) == set()
}
