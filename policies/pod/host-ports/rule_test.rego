package pod.host_ports_test

import data.pod.host_ports

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

test_names_port_and_field if {
	spec := {"containers": [{"name": "app", "ports": [null, {"hostPort": null}, {"hostPort": 0}, {"hostPort": 8443}]}]}
	host_ports.deny == {{
		"msg": "container \"app\" takes port 8443 of the node; want a Service instead",
		"path": "spec.template.spec.containers[0].ports[3].hostPort",
	}} with input.object as deployment(spec)
}
