package pod.proc_mount_test

import data.pod.proc_mount

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

unmasked := {"hostUsers": false, "containers": [{"name": "app", "securityContext": {"procMount": "Unmasked"}}]}

refused(spec, data_class, version) if {
	count(proc_mount.deny) > 0 with input.object as deployment(spec)
		with input.environment.data as data_class
		with data.params.pod_security_version as version
}

test_people_s_data_wants_the_mask if {
	refused(unmasked, "phi", "latest")
	refused(unmasked, "anonymized", "1.37")
}

test_other_data_wants_it_where_users_are_the_node_s if {
	not refused(unmasked, "synthetic", "latest")
	not refused(unmasked, "none", "1.35")
	refused(unmasked, "synthetic", "1.34")
	refused(object.union(unmasked, {"hostUsers": null}), "synthetic", "latest")
}

test_an_empty_text_is_not_the_default if {
	refused({"containers": [{"securityContext": {"procMount": ""}}]}, "synthetic", "latest")
}
