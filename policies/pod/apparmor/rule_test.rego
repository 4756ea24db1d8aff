package pod.apparmor_test

import data.pod.apparmor

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

test_profiles_of_pod_and_container if {
	spec := {
		"securityContext": {"appArmorProfile": {"type": null}},
		"containers": [
			{"name": "a", "securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
			{"name": "b", "securityContext": {"appArmorProfile": {"type": "Localhost"}}},
		],
	}
	{f.path | some f in apparmor.deny} == {
		"spec.template.spec.securityContext.appArmorProfile.type",
		"spec.template.spec.containers[0].securityContext.appArmorProfile.type",
	} with input.object as deployment(spec)
}

annotated(kind, annotations) := {
	"apiVersion": "batch/v1", "kind": kind, "metadata": {"annotations": annotations},
	"spec": {"template": {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "a"}]}}},
}

test_annotations_of_the_template_count if {
	annotations := {
		"container.apparmor.security.beta.kubernetes.io/a": "unconfined",
		"container.apparmor.security.beta.kubernetes.io/b": "localhost/b",
		"container.apparmor.security.beta.kubernetes.io/c": "runtime/default",
		"container.apparmor.security.beta.kubernetes.io/d": null,
		"example.org/apparmor": "unconfined",
	}
	{f.path | some f in apparmor.deny} == {"spec.template.metadata.annotations[\"container.apparmor.security.beta.kubernetes.io/a\"]"} with input.object as annotated("Job", annotations)
}

test_annotations_of_a_pod_are_its_own if {
	pod := {
		"apiVersion": "v1", "kind": "Pod", "spec": {"containers": []},
		"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/a": "unconfined"}},
	}
	{f.path | some f in apparmor.deny} == {"metadata.annotations[\"container.apparmor.security.beta.kubernetes.io/a\"]"} with input.object as pod
}
