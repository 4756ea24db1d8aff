package lib.objects_test

import data.lib.objects

test_kind_key if {
	objects.kind_key({"apiVersion": "apps/v1", "kind": "Deployment"}) == "Deployment.apps"
	objects.kind_key({"apiVersion": "v1", "kind": "Pod"}) == "Pod"
}

test_namespace_falls_back_to_the_target if {
	objects.namespace_of({"metadata": {"namespace": "a"}}) == "a"
	objects.namespace_of({"metadata": {}}) == "b" with input.environment.target.namespace as "b"
}

test_null_is_not_set if {
	objects.is_set({"a": {"b": false}}, ["a", "b"])
	not objects.is_set({"a": {"b": null}}, ["a", "b"])
	not objects.is_set({"a": null}, ["a", "b"])
}

test_size_of_what_is_not_there_is_none if {
	objects.size_of({"a": [1, 2]}, ["a"]) == 2
	objects.size_of({"a": {"b": 1}}, ["a"]) == 1
	objects.size_of({"a": null}, ["a"]) == 0
	objects.size_of({"a": "text"}, ["a"]) == 0
	objects.size_of({}, ["a", "b"]) == 0
}

test_custom_kinds if {
	every kind in ["Cluster.postgresql.cnpg.io", "JobSet.jobset.x-k8s.io", "VirtualServer.k8s.nginx.org"] {
		objects.is_custom(kind)
	}
	every kind in ["Pod", "Deployment.apps", "Ingress.networking.k8s.io", "Gateway.gateway.networking.k8s.io"] {
		not objects.is_custom(kind)
	}
}
