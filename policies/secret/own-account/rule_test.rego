package secret.own_account_test

import data.secret.own_account

pod(spec) := {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "a"}, "spec": object.union({"containers": []}, spec)}

account(token) := object.union({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "own", "namespace": "a"}}, token)

paths(objects) := found if {
	found := {f.path | some f in own_account.deny} with input.objects as objects
}

test_default_in_each_spelling if {
	every spec in [{}, {"serviceAccountName": ""}, {"serviceAccountName": "default"}, {"serviceAccount": "default"}, {"serviceAccountName": null}] {
		paths([pod(object.union(spec, {"automountServiceAccountToken": false}))]) == {"spec.serviceAccountName"}
	}
	paths([pod({"serviceAccount": "own", "automountServiceAccountToken": false})]) == set()
}

test_whose_word_counts if {
	spec := {"serviceAccountName": "own"}
	paths([pod(spec)]) == {"spec.automountServiceAccountToken"}
	paths([pod(spec), account({})]) == {"spec.automountServiceAccountToken"}
	paths([pod(spec), account({"automountServiceAccountToken": false})]) == set()
	paths([pod(object.union(spec, {"automountServiceAccountToken": true})), account({"automountServiceAccountToken": false})]) == {"spec.automountServiceAccountToken"}
}
