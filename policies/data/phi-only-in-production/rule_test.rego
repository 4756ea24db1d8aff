package data.phi_only_in_production_test

import data.data.phi_only_in_production

environment(name, class) := {"id": sprintf("example/%s", [name]), "name": name, "data": class}

test_production_may if {
	count(phi_only_in_production.deny) == 0 with input as {"environment": environment("production", "phi"), "objects": []}
}

test_nobody_else_may if {
	every name in ["staging", "development", "production-copy"] {
		count(phi_only_in_production.deny) == 1 with input as {"environment": environment(name, "phi"), "objects": []}
	}
}

test_label_of_the_pod_counts if {
	object := {
		"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "report"},
		"spec": {"jobTemplate": {"spec": {"template": {
			"metadata": {"labels": {"chaperone.dev/data-class": "phi"}},
			"spec": {"containers": []},
		}}}},
	}
	paths := {f.path | some f in phi_only_in_production.deny} with input as {
		"environment": environment("staging", "anonymized"),
		"objects": [object],
	}
	paths == {"spec.jobTemplate.spec.template.metadata.labels"}
}
