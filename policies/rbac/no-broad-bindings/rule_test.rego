package rbac.no_broad_bindings_test

import data.rbac.no_broad_bindings

findings(role, subject) := found if {
	found := {f.path | some f in no_broad_bindings.deny} with input.object as {"roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [subject]}
}

test_roles if {
	findings("cluster-admin", {"kind": "ServiceAccount", "name": "a"}) == {"roleRef.name"}
	findings("view", {"kind": "ServiceAccount", "name": "a"}) == set()
}

test_subjects if {
	every group in ["system:masters", "system:unauthenticated", "system:authenticated", "system:serviceaccounts", "system:serviceaccounts:example"] {
		findings("view", {"kind": "Group", "name": group}) == {"subjects[0].name"}
	}
	findings("view", {"kind": "User", "name": "system:anonymous"}) == {"subjects[0].name"}
	findings("view", {"kind": "Group", "name": "operations"}) == set()
	findings("view", {"kind": "ServiceAccount", "name": "system:masters"}) == set()
}
