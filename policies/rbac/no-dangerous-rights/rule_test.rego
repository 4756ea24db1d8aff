package rbac.no_dangerous_rights_test

import data.rbac.no_dangerous_rights

findings(rule) := found if {
	found := {f.msg | some f in no_dangerous_rights.deny} with input.object as {"rules": [rule]}
}

test_rights if {
	every right in [
		["", "secrets", "get"], ["", "secrets", "list"], ["", "secrets", "watch"], ["", "pods/exec", "create"], ["", "pods/exec", "get"],
		["", "pods/attach", "create"], ["", "pods/ephemeralcontainers", "patch"], ["", "nodes/proxy", "get"],
		["", "serviceaccounts/token", "create"], ["", "serviceaccounts", "impersonate"], ["", "groups", "impersonate"],
		["rbac.authorization.k8s.io", "roles", "escalate"], ["rbac.authorization.k8s.io", "clusterroles", "bind"],
		["admissionregistration.k8s.io", "validatingwebhookconfigurations", "delete"], ["", "persistentvolumes", "create"],
		["certificates.k8s.io", "certificatesigningrequests/approval", "update"], ["certificates.k8s.io", "signers", "approve"],
	] {
		count(findings({"apiGroups": [right[0]], "resources": [right[1]], "verbs": [right[2]]})) == 1
	}
}

test_harmless_rights if {
	every right in [
		["", "secrets", "create"], ["", "pods", "get"], ["", "pods/log", "get"], ["", "serviceaccounts", "get"],
		["example.org", "secrets", "get"], ["rbac.authorization.k8s.io", "roles", "create"], ["", "persistentvolumes", "get"],
		["", "persistentvolumeclaims", "create"],
	] {
		findings({"apiGroups": [right[0]], "resources": [right[1]], "verbs": [right[2]]}) == set()
	}
}

test_named_objects if {
	findings({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["tls"]}) == set()
	count(findings({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": []})) == 1
	count(findings({"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["create"], "resourceNames": ["a"]})) == 1
}
