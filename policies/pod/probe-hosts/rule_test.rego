package pod.probe_hosts_test

import data.pod.probe_hosts

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

paths(spec) := found if {
	found := {f.path | some f in probe_hosts.deny} with input.object as deployment(spec)
}

test_every_probe_and_hook if {
	action := {"httpGet": {"host": "a"}, "tcpSocket": {"host": "b"}}
	container := {
		"livenessProbe": action, "readinessProbe": action, "startupProbe": action,
		"lifecycle": {"postStart": action, "preStop": action},
	}
	found := paths({"containers": [container]}) with data.params.pod_security_version as "latest"
	count(found) == 10
	"spec.template.spec.containers[0].lifecycle.preStop.tcpSocket.host" in found
}

test_no_host_is_the_pod_itself if {
	container := {
		"livenessProbe": {"httpGet": {"host": ""}}, "readinessProbe": {"tcpSocket": {"host": null}}, "startupProbe": null,
		"lifecycle": {"postStart": null, "preStop": {"httpGet": null, "exec": {"command": ["a"]}}},
	}
	paths({"containers": [container]}) == set()
}

test_allowed_before_1_34 if {
	spec := {"containers": [{"livenessProbe": {"httpGet": {"host": "a"}}}]}
	count(paths(spec)) == 1 with data.params.pod_security_version as "1.34"
	count(paths(spec)) == 0 with data.params.pod_security_version as "1.33"
}

test_hooks_allowed_before_1_34 if {
	spec := {"containers": [{"lifecycle": {"preStop": {"httpGet": {"host": "a"}}}}]}
	count(paths(spec)) == 1 with data.params.pod_security_version as "1.34"
	count(paths(spec)) == 0 with data.params.pod_security_version as "1.33"
}
