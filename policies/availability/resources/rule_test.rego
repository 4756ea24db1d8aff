package availability.resources_test

import data.availability.resources

messages(objects) := found if {
	found := {f.msg | some f in resources.deny} with input.objects as objects
}

pod(resources) := {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "a"}, "spec": {"containers": [{"name": "app", "resources": resources}]}}

test_what_is_missing if {
	messages([pod({})]) == {"container \"app\" has no cpu request, no memory limit, no memory request"}
	messages([pod({"requests": {"cpu": "0", "memory": "1Gi"}})]) == {"container \"app\" has no cpu request, no memory limit"}
	messages([pod({"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "0Mi"}})]) == {"container \"app\" has no memory limit"}
}

test_limits_are_requests_too if messages([pod({"limits": {"cpu": "100m", "memory": "1Gi"}})]) == set()

range(namespace, kind) := {
	"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "r", "namespace": namespace},
	"spec": {"limits": [{"type": kind, "defaultRequest": {"cpu": "10m"}, "default": {"memory": "64Mi"}}]},
}

test_defaults_of_the_namespace if {
	messages([pod({}), range("a", "Container")]) == set()
	count(messages([pod({}), range("b", "Container")])) == 1
	count(messages([pod({}), range("a", "Pod")])) == 1
}
