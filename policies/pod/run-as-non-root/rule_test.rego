package pod.run_as_non_root_test

import data.pod.run_as_non_root

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

findings(spec) := found if {
	found := {f.path | some f in run_as_non_root.deny} with input.object as deployment(spec)
}

test_pod_is_the_default_of_its_containers if {
	findings({"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "app"}]}) == set()
}

test_container_overrides_its_pod if {
	spec := {
		"securityContext": {"runAsNonRoot": true},
		"containers": [{"name": "app", "securityContext": {"runAsNonRoot": false}}],
	}
	findings(spec) == {"spec.template.spec.containers[0].securityContext.runAsNonRoot"}
}

test_every_container_without_it_is_named if {
	spec := {
		"initContainers": [{"name": "a"}],
		"containers": [{"name": "b", "securityContext": {"runAsNonRoot": true}}, {"name": "c"}],
	}
	findings(spec) == {
		"spec.template.spec.initContainers[0].securityContext.runAsNonRoot",
		"spec.template.spec.containers[1].securityContext.runAsNonRoot",
	}
}

test_only_false_gives_the_pod_users_of_its_own if {
	findings({"hostUsers": false, "containers": [{"name": "app"}]}) == set() with data.params.pod_security_version as "latest"
	count(findings({"hostUsers": null, "containers": [{"name": "app"}]})) == 1
	every version, refused in {"1.35": 0, "1.34": 1, "v1.0": 1} {
		count(findings({"hostUsers": false, "containers": [null]})) == refused with data.params.pod_security_version as version
	}
}
