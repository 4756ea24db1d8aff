package availability.probes_test

import data.availability.probes

paths(objects) := found if {
	found := {[f.path, f.msg] | some f in probes.deny} with input.objects as objects
}

pod(containers) := {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "a", "labels": {"app": "a"}}, "spec": {"containers": containers}}

test_each_container_that_listens if {
	paths([pod([
		{"name": "app", "ports": [{"containerPort": 80}], "readinessProbe": {}, "livenessProbe": {}},
		{"name": "proxy", "ports": [{"containerPort": 81}], "readinessProbe": {}},
		{"name": "exporter", "ports": [{"name": "http-metrics", "containerPort": 82}]},
	])]) == {["spec.containers[1]", "container \"proxy\" listens and has no livenessProbe"]}
}

test_workers if {
	paths([pod([{"name": "app"}, {"name": "log"}])]) == {["spec.containers", "no container says whether it lives; want a livenessProbe"]}
	paths([pod([{"name": "app", "livenessProbe": {}}, {"name": "log"}])]) == set()
}

test_a_service_needs_an_answer if {
	service := {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "a"}, "spec": {"selector": {"app": "a"}}}
	paths([service, pod([{"name": "app", "livenessProbe": {}}])]) == {["spec.containers", "a Service sends it requests, and no container has a readinessProbe"]}
	count(paths([service, pod([{"name": "app"}])])) == 1
}
