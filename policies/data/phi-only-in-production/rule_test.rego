package data.phi_only_in_production_test

import data.data.phi_only_in_production

environment(name, class) := {"id": sprintf("example/%s", [name]), "name": name, "data": class}

other(name, class, order) := {
	"environment": sprintf("example/%s", [name]), "name": name, "data": class, "order": order,
	"references": [{"what": "bucket", "identity": "records"}],
}

denials(facts) := found if {
	found := count(phi_only_in_production.deny) with input as object.union({"objects": [], "references": [], "pipeline": []}, facts)
}

test_the_last_may if {
	denials({"environment": environment("live", "phi"), "pipeline": [other("staging", "anonymized", "before")]}) == 0
	denials({"environment": environment("live", "phi"), "pipeline": [other("demo", "synthetic", "beside")]}) == 0
}

test_nobody_else_may if {
	denials({"environment": environment("first", "phi"), "pipeline": [other("production", "phi", "after")]}) == 1
	denials({"environment": environment("first", "phi"), "pipeline": [other("training", "synthetic", "after")]}) == 1
}

test_what_patient_data_uses_is_used_by_nobody_else if {
	bucket := {"what": "bucket", "identity": "records", "key": "", "object": {"name": "a"}, "path": "spec"}
	denials({"environment": environment("staging", "anonymized"), "pipeline": [other("production", "phi", "after")], "references": [bucket]}) == 1
	denials({"environment": environment("staging", "anonymized"), "pipeline": [other("testing", "synthetic", "before")], "references": [bucket]}) == 0
	denials({"environment": environment("production", "phi"), "pipeline": [other("production-2", "phi", "after")], "references": [bucket]}) == 1
}

test_name_in_a_path if {
	secret := {
		"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": "a"},
		"spec": {"data": [{"remoteRef": {"key": "shop/live/database"}}]},
	}
	denials({"environment": environment("staging", "anonymized"), "objects": [secret], "pipeline": [other("live", "phi", "after")]}) == 1
	denials({"environment": environment("staging", "anonymized"), "objects": [secret], "pipeline": [other("production", "phi", "after")]}) == 1
	denials({"environment": environment("staging", "anonymized"), "objects": [secret], "pipeline": [other("archive", "phi", "after")]}) == 0
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
		"pipeline": [], "references": [],
		"environment": environment("staging", "anonymized"),
		"objects": [object],
	}
	paths == {"spec.jobTemplate.spec.template.metadata.labels"}
}

test_more_than_is_read_is_no_pass if {
	unread := {"what": "unread", "identity": "", "key": "", "object": {"name": "a"}, "path": "data"}
	denials({"environment": environment("staging", "anonymized"), "references": [unread], "pipeline": [other("live", "phi", "after")]}) == 1
	denials({"environment": environment("live", "phi"), "references": [unread], "pipeline": []}) == 0
}

test_server_by_its_name if {
	own := [
		{"what": "database", "identity": "records-production.example.org", "key": "", "object": {"name": "a"}, "path": "data"},
		{"what": "bucket", "identity": "production-records/backup", "key": "", "object": {"name": "b"}, "path": "data"},
		{"what": "database", "identity": "prod: host/db.staging", "key": "", "object": {"name": "c"}, "path": "data"},
		{"what": "volume", "identity": "records-production", "key": "", "object": {"name": "d"}, "path": "data"},
	]
	denials({"environment": environment("staging", "anonymized"), "references": own, "pipeline": [other("production", "phi", "after")]}) == 2
	denials({"environment": environment("staging", "anonymized"), "references": own, "pipeline": [other("training", "synthetic", "before")]}) == 0
}

test_called_by_another_name if {
	every name in ["development", "dev", "dev-2", "eu-staging", "production-test"] {
		denials({"environment": environment(name, "phi")}) == 1
	}
	every name in ["production", "production-2", "live", "eu", "test-production", "testosterone"] {
		denials({"environment": environment(name, "phi")}) == 0
	}
	denials({"environment": object.union(environment("staging", "phi"), {"imagined": true})}) == 0
	denials({"environment": environment("staging", "phi")}) == 0 with data.params.earlier_production as ["example/staging"]
}

test_a_file_that_cannot_be_read_is_no_pass if {
	unread := [other("odd", "unknown", "unknown")]
	denials({"environment": environment("live", "phi"), "references": [], "pipeline": unread}) == 1
	denials({"environment": environment("staging", "anonymized"), "references": [], "pipeline": unread}) == 1
	synthetic := {"environment": environment("development", "synthetic"), "references": [], "pipeline": unread, "objects": []}
	denials(synthetic) == 0
	count(phi_only_in_production.warn) == 1 with input as synthetic
}
