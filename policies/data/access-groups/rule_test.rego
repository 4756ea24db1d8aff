package data.access_groups_test

import data.data.access_groups

denials(class, subject) := found if {
	found := count(access_groups.deny) with input.object as {"metadata": {"namespace": "a"}, "subjects": [subject]}
		with input.environment.access as ["operations"]
		with input.environment.target as {"namespace": "a", "allow": []}
		with input.environment.data as class
}

test_group if {
	denials("phi", {"kind": "Group", "name": "operations"}) == 0
	denials("phi", {"kind": "Group", "name": "development"}) == 1
	denials("synthetic", {"kind": "Group", "name": "operations-interns"}) == 1
	denials("phi", {"kind": "Group"}) == 1
}

test_no_list_without_a_file if {
	count(access_groups.deny) == 0 with input as {
		"environment": {"access": [], "data": "phi", "imagined": true},
		"object": {"metadata": {"namespace": "a"}, "subjects": [{"kind": "Group", "name": "somebody"}]},
	}
}

test_user if {
	denials("phi", {"kind": "User", "name": "kim"}) == 1
	denials("anonymized", {"kind": "User", "name": "kim"}) == 0
}

test_accounts if {
	denials("phi", {"kind": "ServiceAccount", "name": "api"}) == 0
	denials("phi", {"kind": "Group", "name": "system:serviceaccounts:a"}) == 0
	denials("phi", {"kind": "Group", "name": "system:serviceaccounts:b"}) == 1
	denials("phi", {"kind": "Group", "name": "system:authenticated"}) == 1
}

accounts(subject) := {r.path | some r in found} if {
	found := access_groups.deny with input as {
		"object": {"metadata": {"namespace": "a"}, "subjects": [subject]},
		"environment": {
			"access": [],
			"data": "synthetic",
			"imagined": false,
			"target": {"namespace": "a", "allow": [{"namespace": "a-jobs"}, {"namespace": "", "kind": "ClusterRole"}]},
		},
	}
		with data.params.trusted_accounts as ["monitoring/prometheus", "kube-system/*"]
}

test_foreign_accounts if {
	every namespace in ["b", "default", "a-development", "monitoring", ""] {
		accounts({"kind": "ServiceAccount", "name": "ci", "namespace": namespace}) == {"subjects[0]"}
	}
	accounts({"kind": "User", "name": "system:serviceaccount:b:ci"}) == {"subjects[0]"}
}

test_own_and_trusted_accounts if {
	every subject in [
		{"kind": "ServiceAccount", "name": "ci", "namespace": "a"},
		{"kind": "ServiceAccount", "name": "ci"},
		{"kind": "ServiceAccount", "name": "runner", "namespace": "a-jobs"},
		{"kind": "ServiceAccount", "name": "prometheus", "namespace": "monitoring"},
		{"kind": "ServiceAccount", "name": "anything", "namespace": "kube-system"},
		{"kind": "User", "name": "system:serviceaccount:a:ci"},
		{"kind": "User", "name": "system:kube-scheduler"},
	] {
		accounts(subject) == set()
	}
}

test_accounts_of_no_environment if {
	count(access_groups.deny) == 0 with input as {
		"environment": {"access": [], "data": "phi", "imagined": true, "target": {"namespace": "a", "allow": []}},
		"object": {"metadata": {"namespace": "a"}, "subjects": [{"kind": "ServiceAccount", "name": "x", "namespace": "y"}]},
	}
}
