package pod.run_as_user_test

import data.pod.run_as_user

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

paths(spec) := found if {
	found := {f.path | some f in run_as_user.deny} with input.object as deployment(spec)
}

test_zero_is_root_of_pod_and_container if {
	spec := {"securityContext": {"runAsUser": 0}, "containers": [{"name": "a", "securityContext": {"runAsUser": 0}}, {"name": "b"}]}
	paths(spec) == {
		"spec.template.spec.securityContext.runAsUser",
		"spec.template.spec.containers[0].securityContext.runAsUser",
	} with data.params.pod_security_version as "latest"
}

test_root_in_users_of_its_own_is_nobody_since_1_35 if {
	spec := {"hostUsers": false, "securityContext": {"runAsUser": 0}, "containers": []}
	count(paths(spec)) == 0 with data.params.pod_security_version as "latest"
	count(paths(spec)) == 1 with data.params.pod_security_version as "1.34"
}

test_not_asked_before_1_23 if {
	spec := {"securityContext": {"runAsUser": 0}, "containers": []}
	count(paths(spec)) == 1 with data.params.pod_security_version as "1.23"
	count(paths(spec)) == 0 with data.params.pod_security_version as "1.22"
}
