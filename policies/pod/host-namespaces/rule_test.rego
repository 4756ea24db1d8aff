package pod.host_namespaces_test

import data.pod.host_namespaces

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

test_each_namespace_is_a_finding if {
	spec := {"hostNetwork": true, "hostPID": true, "hostIPC": false, "containers": []}
	paths := {f.path | some f in host_namespaces.deny} with input.object as deployment(spec)
	paths == {"spec.template.spec.hostNetwork", "spec.template.spec.hostPID"}
}
