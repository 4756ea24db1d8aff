package secret.files_over_variables_test

import data.secret.files_over_variables

pod(name, container) := {
	"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "a"},
	"spec": {"containers": [object.union({"name": "app"}, container)]},
}

test_one_finding_for_a_release if {
	objects := [
		pod("b", {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "a"}}}]}),
		pod("a", {"envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}]}),
		pod("c", {"env": [{"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "c"}}}]}),
	]
	files_over_variables.deny == {"2 of 3 workloads have secrets in variables: Pod/a, Pod/b"} with input.objects as objects
}
