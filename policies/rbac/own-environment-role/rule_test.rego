package rbac.own_environment_role_test

import data.rbac.own_environment_role

findings(role) := found if {
	found := {f.msg | some f in own_environment_role.deny} with input.objects as [{
		"apiVersion": "v1", "kind": "ServiceAccount",
		"metadata": {"name": "api", "namespace": "a", "annotations": {"eks.amazonaws.com/role-arn": role}},
	}]
		with input.environment.name as "staging"
		with input.environment.pipeline as "crohns"
}

test_other_environments if {
	every role in ["arn:aws:iam::1:role/crohns/production/x", "arn:aws:iam::1:role/crohns-prod/x", "arn:aws:iam::1:role/testing/x"] {
		count(findings(role)) == 1
	}
}

test_own_names if {
	every role in ["arn:aws:iam::1:role/crohns/staging/x", "arn:aws:iam::1:role/stage/x", "arn:aws:iam::1:role/x", "arn:aws:iam::1:role/test-results-reader"] {
		findings(role) == set()
	}
}
