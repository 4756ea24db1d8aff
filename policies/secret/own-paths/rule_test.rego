package secret.own_paths_test

import data.secret.own_paths

found(key) := keys if {
	keys := {f.path | some f in own_paths.deny} with input.environment.name as "production"
		with input.objects as [{
			"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": "a", "namespace": "a"},
			"spec": {"data": [{"remoteRef": {"key": key}}]},
		}]
}

test_other_environments if {
	found("crohns/staging/database") == {"spec.data[0].remoteRef.key"}
	found("crohns-dev/database") == {"spec.data[0].remoteRef.key"}
}

test_own_and_common_paths if {
	every key in ["crohns/production/database", "prod/database", "database", "crohns/test-results-archive", "latest/database"] {
		found(key) == set()
	}
}

searched(find) := found if {
	found := count(own_paths.deny) with input.environment.name as "production"
		with input.objects as [{
			"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": "a", "namespace": "a"},
			"spec": {"dataFrom": [{"find": find}]},
		}]
}

test_search_of_several_ways if {
	every expression in ["^a|.*", "^(a|b)|", "^a/(b|(c|d))|.", ".*", "", "|^a"] {
		searched({"name": {"regexp": expression}}) == 1
	}
	every expression in ["^crohns/", "^/crohns/(a|b)", "^a/(b|(c|d))", "^a[|]", `^a\|`] {
		searched({"name": {"regexp": expression}}) == 0
	}
}
