package pod.seccomp_test

import data.pod.seccomp

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

paths(spec) := found if {
	found := {f.path | some f in seccomp.deny} with input.object as deployment(spec)
}

test_pod_is_the_default_of_its_containers if {
	paths({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}, "containers": [{"name": "app"}]}) == set()
}

test_a_bad_pod_profile_is_no_default if {
	paths({"securityContext": {"seccompProfile": {"type": "Unconfined"}}, "containers": [{"name": "app"}]}) == {
		"spec.template.spec.securityContext.seccompProfile.type",
		"spec.template.spec.containers[0].securityContext.seccompProfile.type",
	}
}
