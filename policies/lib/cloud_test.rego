package lib.cloud_test

import data.lib.cloud

found(text) := others if {
	others := cloud.others(text) with input.environment.name as "production"
}

test_names_of_other_environments if {
	found("crohns/staging/database") == {"staging"}
	found("crohns-testing/database") == {"testing"}
	found("crohns/production/database") == set()
	found("crohns/prod/database") == set()
	found("crohns/database") == set()
	found("crohns/restaging/devices") == set()
}

test_in_the_middle_of_a_step if {
	elsewhere("crohns-production-database") == {"production"}
	elsewhere("production-database") == {"production"}
	elsewhere("^crohns-production-.*") == {"production"}
	every text in ["crohns-non-production-database", "non-prod/database", "crohns-pre-prod", "reproduction-rates", "crohns-prod-like-database"] {
		elsewhere(text) == set()
	}
}

elsewhere(text) := others if {
	others := cloud.others(text) with input.environment.name as "staging"
}

test_a_store_is_its_account if {
	places := {a.place | some a in cloud.accounts} with input.environment.target.namespace as "a" with input.objects as [
		{
			"apiVersion": "v1", "kind": "ServiceAccount",
			"metadata": {"name": "reader", "annotations": {"eks.amazonaws.com/role-arn": "arn"}},
		},
		{
			"apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": {"name": "environment"},
			"spec": {"provider": {"aws": {"role": "arn", "auth": {"jwt": {"serviceAccountRef": {"name": "reader"}}}}}},
		},
	]
	places == {"a/reader"}
}
