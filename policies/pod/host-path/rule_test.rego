package pod.host_path_test

import data.pod.host_path

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

test_names_volume_and_field if {
	spec := {"containers": [], "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "logs", "hostPath": {"path": "/var/log"}}]}
	host_path.deny == {{
		"msg": "volume \"logs\" is a path on the node",
		"path": "spec.template.spec.volumes[1].hostPath",
	}} with input.object as deployment(spec)
}

test_null_is_no_volume if {
	spec := {"containers": [], "volumes": [null, {"name": "a", "hostPath": null}]}
	count(host_path.deny) == 0 with input.object as deployment(spec)
}
