package pod.windows_host_process_test

import data.pod.windows_host_process

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

paths(spec) := found if {
	found := {f.path | some f in windows_host_process.deny} with input.object as deployment(spec)
}

test_each_offence_is_a_finding if {
	spec := {
		"securityContext": {"windowsOptions": {"hostProcess": true}},
		"containers": [
			{"name": "a", "securityContext": {"windowsOptions": {"hostProcess": true}}},
			{"name": "b", "securityContext": {"windowsOptions": {"hostProcess": false}}},
		],
	}
	paths(spec) == {
		"spec.template.spec.securityContext.windowsOptions.hostProcess",
		"spec.template.spec.containers[0].securityContext.windowsOptions.hostProcess",
	}
}

test_says_whether_pod_or_container if {
	spec := {"securityContext": {"windowsOptions": {"hostProcess": true}}, "containers": [null]}
	{f.msg | some f in windows_host_process.deny} == {"the pod is a Windows HostProcess; want hostProcess false or left out"} with input.object as deployment(spec)
}
