package rbac.own_cloud_role_test

import data.rbac.own_cloud_role

account(name, role) := {
	"apiVersion": "v1", "kind": "ServiceAccount",
	"metadata": {"name": name, "namespace": "a", "annotations": {"eks.amazonaws.com/role-arn": role}},
}

findings(accounts) := found if {
	found := {[f.object.name, f.msg] | some f in own_cloud_role.deny} with input.objects as accounts
}

test_shared_by_two if {
	findings([account("api", "arn:aws:iam::1:role/x"), account("web", "arn:aws:iam::1:role/x"), account("db", "arn:aws:iam::1:role/y")]) == {
		["api", "the cloud role is also that of web"],
		["web", "the cloud role is also that of api"],
	}
}

test_broad_by_name if {
	every role in ["arn:aws:iam::1:role/AdministratorAccess", "arn:aws:iam::1:role/team/admin", "deploy-PowerUser@p.iam.gserviceaccount.com"] {
		count(findings([account("api", role)])) == 1
	}
	every role in ["arn:aws:iam::1:role/crohns/production/wal-archive", "arn:aws:iam::1:role/badminton-club", "s3-reader@admissions.iam.gserviceaccount.com"] {
		findings([account("api", role)]) == set()
	}
}
