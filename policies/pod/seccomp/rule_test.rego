package pod.seccomp_test

import data.pod.seccomp

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

paths(spec) := found if {
	found := {f.path | some f in seccomp.deny} with input.object as deployment(spec)
		with data.params.pod_security_version as "latest"
}

test_pod_is_the_default_of_its_containers if {
	paths({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}, "containers": [{"name": "app"}]}) == set()
}

test_a_bad_pod_profile_is_no_default if {
	paths({"securityContext": {"seccompProfile": {"type": "Unconfined"}}, "containers": [{"name": "app"}]}) == {
		"spec.template.spec.securityContext.seccompProfile.type",
		"spec.template.spec.containers[0].securityContext.seccompProfile.type",
	}
}

refused(spec, data_class, version) := found if {
	found := count(seccomp.deny) with input.object as deployment(spec)
		with input.environment.data as data_class
		with data.params.pod_security_version as version
}

windows(security) := {"os": {"name": "windows"}, "containers": [{"securityContext": security}]}

unconfined := {"seccompProfile": {"type": "Unconfined"}}

test_synthetic_data_may_leave_it_to_the_runtime if {
	refused({"containers": [null]}, "synthetic", "latest") == 0
	refused({"containers": [null]}, "phi", "latest") == 1
	refused({"containers": [{"securityContext": unconfined}]}, "synthetic", "latest") == 1
}

test_windows_needs_none_since_1_25_where_the_baseline_is_not_enough if {
	refused(windows(unconfined), "phi", "1.25") == 0
	refused(windows(null), "phi", "1.25") == 0
	refused(windows(unconfined), "phi", "1.24") == 1
	refused(windows(null), "phi", "1.24") == 1
	refused(windows(unconfined), "synthetic", "1.25") == 1
}

annotated(annotations) := {
	"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"},
	"spec": {"template": {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "app"}]}}},
}

test_annotations_said_it_before_1_19 if {
	object := annotated({
		"seccomp.security.alpha.kubernetes.io/pod": "unconfined",
		"container.seccomp.security.alpha.kubernetes.io/app": null,
		"container.seccomp.security.alpha.kubernetes.io/other": "unconfined",
	})
	{f.path | some f in seccomp.deny} == {
		"spec.template.metadata.annotations[\"seccomp.security.alpha.kubernetes.io/pod\"]",
		"spec.template.metadata.annotations[\"container.seccomp.security.alpha.kubernetes.io/app\"]",
	} with input.object as object with data.params.pod_security_version as "1.18"
	count(seccomp.deny) == 1 with input.object as object with data.params.pod_security_version as "1.19"
}

test_what_annotations_could_say if {
	object := annotated({
		"seccomp.security.alpha.kubernetes.io/pod": "docker/default",
		"container.seccomp.security.alpha.kubernetes.io/app": "localhost/app",
	})
	count(seccomp.deny) == 0 with input.object as object with data.params.pod_security_version as "1.18"
}
