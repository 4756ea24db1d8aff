package availability.two_of_each_test

import data.availability.two_of_each

workload(spec, annotations) := {
	"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "a", "annotations": annotations},
	"spec": object.union({"template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": []}}}, spec),
}

budget(spec) := {
	"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "db", "namespace": "a"},
	"spec": object.union({"selector": {"matchLabels": {"app": "db"}}}, spec),
}

paths(objects) := found if {
	found := {[f.object.kind, object.get(f, "path", "")] | some f in two_of_each.deny} with input.objects as objects
}

test_one_without_a_budget if {
	paths([workload({}, {})]) == {["StatefulSet", "spec.replicas"], ["StatefulSet", ""]}
	paths([workload({"replicas": 2}, {})]) == {["StatefulSet", ""]}
	paths([workload({"replicas": 2}, {}), budget({"maxUnavailable": 1})]) == set()
}

test_budgets_that_limit_nothing if {
	every spec in [{}, {"minAvailable": 0}, {"maxUnavailable": "100%"}] {
		paths([workload({"replicas": 2}, {}), budget(spec)]) == {["StatefulSet", ""]}
	}
}

test_budgets_that_let_nothing_go if {
	every spec in [{"minAvailable": "100%"}, {"maxUnavailable": 0}, {"maxUnavailable": "0%"}] {
		count(paths([workload({"replicas": 2}, {}), budget(spec)])) == 1
	}
}

test_switched_off_or_single if {
	paths([workload({"replicas": 0}, {})]) == set()
	paths([workload({}, {"chaperone.dev/singleton": "holds the only licence"})]) == set()
	count(paths([workload({}, {"chaperone.dev/singleton": " "})])) == 2
}
