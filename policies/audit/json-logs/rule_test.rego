package audit.json_logs_test

import data.audit.json_logs

paths(objects) := found if {
	found := {f.path | some f in json_logs.deny} with input.objects as objects
}

pod(container) := {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "a"}, "spec": {"containers": [object.union({"name": "app"}, container)]}}

test_what_is_said if {
	paths([pod({"env": [{"name": "LOG_FORMAT", "value": "text"}]})]) == {"spec.containers[0].env[0].value"}
	paths([pod({"args": ["run", "--log-format=logfmt"]})]) == {"spec.containers[0].args[1]"}
	paths([pod({"args": ["--log-format=json"], "env": [{"name": "log_format", "value": "JSON"}, {"name": "LOG_FORMAT", "valueFrom": {}}]})]) == set()
}

test_nothing_is_said_of_a_pod if paths([pod({})]) == set()
