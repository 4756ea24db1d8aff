package rbac.no_static_cloud_keys_test

import data.rbac.no_static_cloud_keys

test_names_the_variable if {
	found := {f.path | some f in no_static_cloud_keys.deny} with input.object as {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{
		"name": "app",
		"env": [{"name": "AWS_REGION", "value": "us-west-2"}, {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": {}}],
	}]}}
	found == {"spec.containers[0].env[1]"}
}
