package lib.workloads_test

import data.lib.workloads

deployment := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api", "namespace": "a"},
	"spec": {"replicas": 2, "template": {
		"metadata": {"labels": {"app": "api", "tier": "web"}, "annotations": {"pods": "say"}},
		"spec": {"containers": [{"name": "app"}]},
	}},
}

job := {
	"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": "a"},
	"spec": {"template": {"spec": {"containers": []}}},
}

pod := {
	"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shell", "namespace": "a", "labels": {"app": "shell"}},
	"spec": {"restartPolicy": "Never", "containers": []},
}

test_labels_are_those_of_the_pods if {
	labels := {w.object.metadata.name: w.labels | some w in workloads.all} with input.objects as [deployment, job, pod]
	labels == {"api": {"app": "api", "tier": "web"}, "once": {}, "shell": {"app": "shell"}}
}

test_what_ends_does_not_run_on if {
	names := [w.object.metadata.name | some w in workloads.running] with input.objects as [deployment, job, pod]
	names == ["api"]
}

of_api(objects) := found if {
	found := [{"scale": workloads.scale(w), "services": workloads.services(w), "ports": workloads.service_ports(w), "budgets": workloads.budgets(w)} |
		some w in workloads.replicated
	][0] with input.objects as array.concat([deployment], objects)
}

service(namespace, selector) := {
	"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": namespace},
	"spec": {"selector": selector, "ports": [{"name": "http"}]},
}

test_services_select_by_all_their_labels if {
	of_api([service("a", {"app": "api", "tier": "web"})]).ports == {"http"}
	count(of_api([service("a", {"tier": "web"})]).services) == 1
	every other in [service("b", {"app": "api"}), service("a", {"app": "api", "tier": "db"}), service("a", {})] {
		of_api([other]).services == set()
	}
}

budget(selector) := {
	"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b", "namespace": "a"},
	"spec": {"selector": selector},
}

test_budgets_select_by_labels_and_expressions if {
	every selector in [
		{}, {"matchLabels": {"app": "api"}},
		{"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "api"]}]},
		{"matchExpressions": [{"key": "other", "operator": "NotIn", "values": ["x"]}]},
		{"matchExpressions": [{"key": "tier", "operator": "Exists"}, {"key": "other", "operator": "DoesNotExist"}]},
	] {
		count(of_api([budget(selector)]).budgets) == 1
	}
	every selector in [
		null, {"matchLabels": {"app": "web"}}, {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]},
		{"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["api"]}]},
		{"matchExpressions": [{"key": "other", "operator": "Exists"}]},
		{"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]},
	] {
		of_api([budget(selector)]).budgets == set()
	}
}

scaler(kind, group, spec) := {
	"apiVersion": group, "kind": kind, "metadata": {"name": "s", "namespace": "a"},
	"spec": object.union({"scaleTargetRef": {"kind": "Deployment", "name": "api"}}, spec),
}

test_scale_is_the_autoscalers if {
	numbers([]) == [2, 2]
	numbers([scaler("HorizontalPodAutoscaler", "autoscaling/v2", {"minReplicas": 3, "maxReplicas": 9})]) == [3, 9]
	numbers([scaler("HorizontalPodAutoscaler", "autoscaling/v2", {"maxReplicas": 9})]) == [1, 9]
	numbers([scaler("ScaledObject", "keda.sh/v1alpha1", {})]) == [0, 100]
	numbers([scaler("HorizontalPodAutoscaler", "autoscaling/v2", {"scaleTargetRef": {"name": "other"}})]) == [2, 2]
}

numbers(objects) := [s.min, s.max] if s := of_api(objects).scale

test_declared if {
	workload := {"annotations": {"pods": " say "}, "object": {"metadata": {"annotations": {"own": "says"}}}}
	workloads.declared(workload, "pods") == "say"
	workloads.declared(workload, "own") == "says"
	workloads.declared(workload, "none") == ""
}

test_null_is_not_there if {
	without := object.union(deployment, {"spec": object.union(deployment.spec, {"replicas": null})})
	found := [workloads.scale(w) | some w in workloads.replicated] with input.objects as [without]
	[s.max | some s in found] == [1]
	of_api([service("a", null)]).services == set()
	count(of_api([budget({"matchLabels": null, "matchExpressions": null})]).budgets) == 1
	numbers([scaler("HorizontalPodAutoscaler", "autoscaling/v2", {"minReplicas": null, "maxReplicas": 4})]) == [1, 4]
	workloads.selects({}, workloads.entries({"labels": null}, "labels"))
}

test_namespace_that_is_null_is_the_target if {
	moved := object.union(deployment, {"metadata": {"namespace": null}})
	[w.namespace | some w in workloads.all] == ["b"] with input.objects as [moved] with input.environment.target.namespace as "b"
}
