package availability.autoscaling_test

import data.availability.autoscaling

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "a"},
	"spec": object.union({"template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "app"}]}}}, spec),
}

scaler(spec) := {
	"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a", "namespace": "a"},
	"spec": object.union({"scaleTargetRef": {"kind": "Deployment", "name": "a"}}, spec),
}

paths(objects) := found if {
	found := {f.path | some f in autoscaling.deny} with input.objects as objects
}

test_only_what_serves if paths([deployment({})]) == set()

test_no_room if {
	paths([deployment({}), scaler({"minReplicas": 3, "maxReplicas": 3})]) == {"spec.maxReplicas"}
	paths([deployment({}), scaler({"minReplicas": 3, "maxReplicas": 4})]) == set()
}

test_two_who_set_the_number if {
	paths([deployment({"replicas": 2}), scaler({"maxReplicas": 4})]) == {"spec.replicas"}
}

test_nothing_to_measure_by if {
	metrics := [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}]
	paths([deployment({}), scaler({"maxReplicas": 4, "metrics": metrics})]) == {"spec.metrics[0]"}
}
