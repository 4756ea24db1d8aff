package pod.selinux_test

import data.pod.selinux

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

paths(pod_options, container_options, version) := found if {
	spec := {
		"securityContext": {"seLinuxOptions": pod_options},
		"containers": [{"name": "app", "securityContext": {"seLinuxOptions": container_options}}],
	}
	found := {f.path | some f in selinux.deny} with input.object as deployment(spec)
		with data.params.pod_security_version as version
}

test_each_field_is_a_finding if {
	paths({"user": "u"}, {"type": "spc_t", "role": "r", "level": "s0"}, "latest") == {
		"spec.template.spec.securityContext.seLinuxOptions.user",
		"spec.template.spec.containers[0].securityContext.seLinuxOptions.type",
		"spec.template.spec.containers[0].securityContext.seLinuxOptions.role",
	}
}

test_engine_type_came_later if {
	count(paths({"type": "container_engine_t"}, null, "1.30")) == 1
	count(paths({"type": "container_engine_t"}, null, "1.31")) == 0
}

test_empty_is_the_runtime_s_choice if count(paths({"type": "", "user": null}, {"role": ""}, "1.0")) == 0
