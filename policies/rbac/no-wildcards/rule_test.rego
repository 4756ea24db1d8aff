package rbac.no_wildcards_test

import data.rbac.no_wildcards

paths(rules) := found if {
	found := {f.path | some f in no_wildcards.deny} with input.object as {"rules": rules}
}

test_names_each_star if {
	paths([
		{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
		{"apiGroups": ["*"], "resources": ["pods", "pods/*", "*/scale"], "verbs": ["get", "*"]},
		{"nonResourceURLs": ["/*", "/metrics/*"], "verbs": ["get"]},
	]) == {"rules[1].apiGroups[0]", "rules[1].resources[1]", "rules[1].resources[2]", "rules[1].verbs[1]", "rules[2].nonResourceURLs[0]"}
}

test_aggregated_roles_have_no_rules if paths(null) == set()
