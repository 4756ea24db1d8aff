package data.access_groups_test

import data.data.access_groups

denials(class, subject) := found if {
	found := count(access_groups.deny) with input.object as {"metadata": {"namespace": "a"}, "subjects": [subject]}
		with input.environment.access as ["operations"]
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
