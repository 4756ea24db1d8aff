package pod.privilege_escalation_test

import data.pod.privilege_escalation

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

test_only_false_is_enough if {
	contexts := [null, {}, {"allowPrivilegeEscalation": null}, {"allowPrivilegeEscalation": true}]
	every context in contexts {
		spec := {"containers": [{"name": "app", "securityContext": context}]}
		count(privilege_escalation.deny) == 1 with input.object as deployment(spec)
			with data.params.pod_security_version as "latest"
	}
}

test_windows_has_none if {
	count(privilege_escalation.deny) == 0 with input.object as deployment({"os": {"name": "windows"}, "containers": [{"name": "app"}]})
		with data.params.pod_security_version as "latest"
}

test_windows_had_to_say_so_before_1_25 if {
	spec := {"os": {"name": "windows"}, "containers": [{"name": "app"}]}
	every version, refused in {"1.7": 0, "1.8": 1, "1.24": 1, "1.25": 0} {
		count(privilege_escalation.deny) == refused with input.object as deployment(spec)
			with data.params.pod_security_version as version
	}
}
