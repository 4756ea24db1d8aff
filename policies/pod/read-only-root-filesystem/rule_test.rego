package pod.read_only_root_filesystem_test

import data.pod.read_only_root_filesystem

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

test_only_true_is_enough if {
	contexts := [null, {}, {"readOnlyRootFilesystem": null}, {"readOnlyRootFilesystem": false}]
	every context in contexts {
		spec := {"containers": [{"name": "app", "securityContext": context}]}
		count(read_only_root_filesystem.deny) == 1 with input.object as deployment(spec)
	}
}

test_windows_has_none if {
	count(read_only_root_filesystem.deny) == 0 with input.object as deployment({"os": {"name": "windows"}, "containers": [{"name": "app"}]})
}
