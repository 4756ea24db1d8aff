package lib.pods_test

import data.lib.pods

spec := {
	"initContainers": [{"name": "init"}],
	"containers": [{"name": "app"}, {"name": "sidecar"}],
	"ephemeralContainers": [{"name": "debug"}],
}

cronjob := {
	"apiVersion": "batch/v1", "kind": "CronJob",
	"spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}},
}

test_all_lists_of_containers if {
	names := {c.name | some c in pods.containers} with input.object as cronjob
	names == {"init", "app", "sidecar", "debug"}
}

test_path_leads_to_the_container if {
	paths := {c.path | some c in pods.containers; c.name == "sidecar"} with input.object as cronjob
	paths == {"spec.jobTemplate.spec.template.spec.containers[1]"}
}

test_unknown_kind_with_containers_is_a_workload if {
	object := {"apiVersion": "example.org/v1", "kind": "Thing", "spec": {"template": {"spec": spec}}}
	count(pods.specs) == 1 with input.object as object
}

# The API server drops what such kinds do not have; of another group it might not.
test_kinds_of_kubernetes_hide_no_pod if {
	specs_of_kind("networking.k8s.io/v1", "NetworkPolicy") == []
	specs_of_kind("v1", "ConfigMap") == []
	count(specs_of_kind("example.org/v1", "NetworkPolicy")) == 1
	count(specs_of_kind("networking.k8s.io/v1", "Thing")) == 1
}

specs_of_kind(version, kind) := pods.specs_of({"apiVersion": version, "kind": kind, "spec": {"template": {"spec": spec}}})

test_unknown_kind_with_another_template_is_none if {
	object := {"apiVersion": "example.org/v1", "kind": "Thing", "spec": {"template": {"spec": {"text": "x"}}}}
	count(pods.specs) == 0 with input.object as object
}

test_a_kind_whose_path_leads_nowhere_is_searched if {
	object := {"apiVersion": "example.org/v1", "kind": "Thing", "spec": {"template": {"spec": spec}}}
	[pod.path | some pod in pods.specs] == ["spec.template.spec"] with input.object as object
		with data.params.pod_templates as {"Thing.example.org": ["spec.tmplate.spec"], "*": []}
	count(pods.specs) == 0 with input.object as object with data.params.pod_templates as {"Thing.example.org": [], "*": ["spec.template.spec"]}
}

test_a_kind_of_another_group_is_not_the_core_one if {
	object := {"apiVersion": "example.org/v1", "kind": "Pod", "spec": {"text": "x"}}
	count(pods.specs) == 0 with input.object as object
}

test_a_container_that_is_null_has_all_defaults if {
	found := [c.container | some c in pods.containers] with input.object as {
		"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [null]},
	}
	found == [{}]
}

test_annotations_stand_beside_the_spec if {
	object := {
		"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": {"a": "text", "b": null, "c": 1}},
		"spec": {"containers": []},
	}
	[pods.annotations(pod) | some pod in pods.specs] == [{"a": "text", "b": null, "c": 1}] with input.object as object
}

test_version_of_the_standards if {
	every version, minor in {"1.0": 0, "1.9": 9, "1.37": 37, "v1.24": 24} {
		pods.minor == minor with data.params.pod_security_version as version
	}
	pods.minor > 100 with data.params.pod_security_version as "latest"
}

test_restricted_unless_it_is_known_not_to_matter if {
	pods.restricted with input.environment.data as "phi"
	pods.restricted with input.environment.data as "anonymized"
	pods.restricted with input.environment.data as "unheard of"
	not pods.restricted with input.environment.data as "synthetic"
	not pods.restricted with input.environment.data as "none"
}

test_paths_through_lists if {
	object := {"apiVersion": "example.org/v1", "kind": "Fleet", "spec": {"groups": [{"pods": [{"metadata": {"annotations": {"a": "b"}}, "spec": {}}]}]}}
	found := pods.specs with input.object as object
		with data.params.pod_templates as {"Fleet.example.org": ["spec.groups[].pods[].spec"]}
	[pod.path | some pod in found] == ["spec.groups[0].pods[0].spec"]
	pods.annotations(found[0]) == {"a": "b"} with input.object as object
}

test_what_looks_like_a_pod_is_one if {
	object := {"apiVersion": "example.org/v1", "kind": "Thing", "spec": {"templates": [
		{"container": {"image": "a"}, "sidecars": [{"image": "b"}]},
		{"containers": ["text"]},
	]}}
	[c.path | some c in pods.containers] == ["spec.templates[0].sidecars[0]", "spec.templates[0].container"] with input.object as object
}

test_steps_with_images_are_containers if {
	object := {"apiVersion": "tekton.dev/v1", "kind": "Task", "spec": {"steps": [{"image": "a"}, {"ref": {"name": "b"}}]}}
	[c.path | some c in pods.containers] == ["spec.steps[0]", "spec.steps[1]"] with input.object as object
	other := {"apiVersion": "example.org/v1", "kind": "Canary", "spec": {"steps": [{"setWeight": 20}, {"image": {"name": "b"}}, "c"]}}
	count(pods.specs) == 0 with input.object as other
}

test_a_kind_without_pods_has_none if {
	object := {"apiVersion": "example.org/v1", "kind": "Thing", "spec": spec}
	count(pods.specs) == 0 with input.object as object with data.params.pod_templates as {"Thing.example.org": []}
}
