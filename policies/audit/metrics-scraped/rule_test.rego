package audit.metrics_scraped_test

import data.audit.metrics_scraped

deployment(annotations) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "a"},
	"spec": {"template": {"metadata": {"labels": {"app": "a"}, "annotations": annotations}, "spec": {"containers": []}}},
}

service := {
	"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "a", "labels": {"svc": "a"}},
	"spec": {"selector": {"app": "a"}, "ports": [{"name": "http"}]},
}

monitor(kind, namespace, spec) := {
	"apiVersion": "monitoring.coreos.com/v1", "kind": kind, "metadata": {"name": "m", "namespace": namespace}, "spec": spec,
}

unmeasured(objects) if {
	count(metrics_scraped.deny) == 1 with input.objects as array.concat([deployment({}), service], objects)
}

test_monitors if {
	unmeasured([])
	not unmeasured([monitor("PodMonitor", "a", {"selector": {"matchLabels": {"app": "a"}}})])
	not unmeasured([monitor("PodMonitor", "m", {"selector": {}, "namespaceSelector": {"any": true}})])
	not unmeasured([monitor("ServiceMonitor", "m", {"selector": {"matchLabels": {"svc": "a"}}, "namespaceSelector": {"matchNames": ["a"]}})])
	unmeasured([monitor("PodMonitor", "a", {"selector": {"matchLabels": {"app": "b"}}})])
	unmeasured([monitor("PodMonitor", "m", {"selector": {}})])
	unmeasured([monitor("ServiceMonitor", "a", {"selector": {"matchLabels": {"app": "a"}}})])
}
