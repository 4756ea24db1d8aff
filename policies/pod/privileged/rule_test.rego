package pod.privileged_test

import data.pod.privileged

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

test_names_container_and_field if {
	spec := {"containers": [{"name": "app"}, {"name": "agent", "securityContext": {"privileged": true}}]}
	privileged.deny == {{
		"msg": "container \"agent\" is privileged",
		"path": "spec.template.spec.containers[1].securityContext.privileged",
	}} with input.object as deployment(spec)
}

test_each_offence_is_a_finding if {
	spec := {
		"initContainers": [{"name": "a", "securityContext": {"privileged": true}}],
		"containers": [{"name": "b", "securityContext": {"privileged": true}}],
	}
	count(privileged.deny) == 2 with input.object as deployment(spec)
}

test_security_context_may_be_null if {
	count(privileged.deny) == 0 with input.object as deployment({"containers": [{"name": "app", "securityContext": null}]})
}
